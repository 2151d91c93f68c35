"""A stand-in for PostgREST, for the embedded stack only. It is not PostgREST.

No PostgREST binary exists in the package registries that a bare machine reaches, so this
answers the documented subset that the pipeline uses, on the real PostgreSQL: select with
filters, order, limit and count; bulk insert and upsert; patch; rpc; JWT to role; PostgREST's
status codes and error bodies; /live and /ready. It refuses what it does not know.
docker compose and Helm run the real one; the contract suite runs against both.

Run by `python -m media_pipeline.local_stack.postgrest_server` with PostgREST's own
variables: PGRST_DB_URI, PGRST_SERVER_HOST, PGRST_SERVER_PORT, PGRST_DB_SCHEMAS,
PGRST_DB_ANON_ROLE, PGRST_JWT_SECRET (a secret, a JWKS, or `@file`; SIGUSR2 reads it again),
PGRST_JWT_AUD.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
import uvicorn
from psycopg import sql
from psycopg.rows import dict_row
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from media_pipeline.local_stack.postgrest_auth import Authenticator, Caller
from media_pipeline.local_stack.postgrest_errors import ApiError, status_of, unsupported
from media_pipeline.local_stack.postgrest_query import (
    Table,
    count_sql,
    insert_sql,
    select_sql,
    update_sql,
)

_COLUMNS = """
select a.attname, format_type(a.atttypid, a.atttypmod)
from pg_attribute a join pg_class c on c.oid = a.attrelid
     join pg_namespace n on n.oid = c.relnamespace
where n.nspname = %s and c.relname = %s and c.relkind in ('r', 'v', 'p', 'm') and a.attnum > 0
  and not a.attisdropped order by a.attnum
"""
_ARGUMENTS = """
select coalesce(p.proargnames[1:p.pronargs], '{}') as names,
       array(select format_type(a, null) from unnest(p.proargtypes) with ordinality as u(a, n)
             order by n) as types,
       p.proretset or t.typtype = 'c' as is_set, p.pronargs - p.pronargdefaults as required
from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_type t on t.oid = p.prorettype
where n.nspname = %s and p.proname = %s
"""
_CONNECTION_TRIES = 2


@dataclass(frozen=True, slots=True)
class Call:
    """One request, read completely."""

    method: str
    target: str
    parts: list[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes

    def preferences(self) -> dict[str, str]:
        """The Prefer header as name -> value."""
        text = self.headers.get("prefer", "")
        pairs = (item.strip().partition("=") for item in text.split(",") if item.strip())
        return {name: value for name, _, value in pairs}

    def document(self) -> Any:
        try:
            return json.loads(self.body or b"{}")
        except ValueError as error:
            raise ApiError(400, "PGRST102", f"Empty or invalid json: {error}") from error


class Gateway:
    """Runs calls on PostgreSQL, one transaction each, as the caller's role."""

    def __init__(self, uri: str, schemas: list[str], authenticator: Authenticator) -> None:
        self._uri = uri
        self._schemas = schemas
        self._authenticator = authenticator
        self._local = threading.local()

    def handle(self, call: Call) -> Response:
        """Never raises: every failure becomes PostgREST's answer to it."""
        try:
            caller = self._authenticator.caller(call.headers.get("authorization"))
            return self._with_connection(call, caller)
        except ApiError as error:
            return _json(error.body(), error.status)
        except psycopg.Error as error:
            diagnosis = error.diag
            failure = ApiError(
                status_of(error.sqlstate),
                error.sqlstate or "PGRST000",
                diagnosis.message_primary or str(error),
                diagnosis.message_detail,
                diagnosis.message_hint,
            )
            return _json(failure.body(), failure.status)

    def ping(self) -> bool:
        """Whether the database answers."""
        try:
            self._connection().execute("select 1")
            self._connection().rollback()
        except psycopg.Error:
            self._local.connection = None
            return False
        return True

    def _with_connection(self, call: Call, caller: Caller) -> Response:
        for attempt in range(_CONNECTION_TRIES):
            try:
                with self._connection().transaction():
                    return self._answer(call, caller, self._connection())
            except psycopg.OperationalError:
                # The database was restarted under an idle connection: once more on a new one.
                if not self._connection().broken or attempt + 1 == _CONNECTION_TRIES:
                    raise
                self._local.connection = None
        raise AssertionError("unreachable")

    def _connection(self) -> psycopg.Connection[dict[str, Any]]:
        connection = getattr(self._local, "connection", None)
        if connection is None or connection.closed or connection.broken:
            connection = psycopg.connect(self._uri, row_factory=dict_row, connect_timeout=5)
            self._local.connection = connection
        return connection

    def _answer(
        self, call: Call, caller: Caller, connection: psycopg.Connection[dict[str, Any]]
    ) -> Response:
        if "range" in call.headers:
            raise unsupported("the Range header: use limit and offset")
        schema = self._schema(call)
        connection.execute(
            "select set_config('role', %s, true), set_config('request.jwt.claims', %s, true)",
            (caller.role, json.dumps(caller.claims)),
        )
        if call.target.startswith("rpc/"):
            return _rpc(call, schema, connection)
        columns = connection.execute(_COLUMNS, (schema, call.target)).fetchall()
        if not columns:
            raise ApiError(
                404,
                "PGRST205",
                f"Could not find the table '{schema}.{call.target}' in the schema cache",
            )
        types = {row["attname"]: row["format_type"] for row in columns}
        table = Table(schema, call.target, types)
        handler = {"GET": _select, "POST": _insert, "PATCH": _update}.get(call.method)
        if handler is None:
            raise ApiError(405, "PGRST117", f"Unsupported HTTP method: {call.method}")
        return handler(call, table, connection)

    def _schema(self, call: Call) -> str:
        name = "accept-profile" if call.method == "GET" else "content-profile"
        schema = call.headers.get(name, self._schemas[0])
        if schema not in self._schemas:
            raise ApiError(406, "PGRST106", f"Invalid schema: {schema}")
        return schema


def _rpc(call: Call, schema: str, connection: psycopg.Connection[dict[str, Any]]) -> Response:
    name = call.target.removeprefix("rpc/")
    if call.method != "POST":
        raise unsupported(f"{call.method} on functions")
    given = call.document()
    candidates = connection.execute(_ARGUMENTS, (schema, name)).fetchall()
    for row in candidates:
        names = row["names"]
        if set(given) <= set(names) and set(names[: row["required"]]) <= set(given):
            break
    else:
        raise ApiError(
            404, "PGRST202",
            f"Could not find the function {schema}.{name}({', '.join(given)}) in the schema cache",
        )  # fmt: skip
    arguments = sql.SQL(", ").join(
        sql.SQL("{} => %s").format(sql.Identifier(argument)) for argument in given
    )
    function = sql.SQL("{}.{}({})").format(sql.Identifier(schema), sql.Identifier(name), arguments)
    types = dict(zip(names, row["types"], strict=False))
    values = [
        json.dumps(value) if types[argument] in ("json", "jsonb") else value
        for argument, value in given.items()
    ]
    if row["is_set"]:
        return _text(_rows(connection, sql.SQL("select * from ") + function, values)[0])
    statement = sql.SQL("select to_json({})::text as body").format(function)
    answer = connection.execute(statement, values).fetchone()
    return _text(answer["body"] if answer and answer["body"] else "null")


def _rows(
    connection: psycopg.Connection[dict[str, Any]], statement: sql.Composed, values: list[Any]
) -> tuple[str, int]:
    """(JSON array, number of rows). PostgreSQL writes the JSON, so types look as they do in
    PostgREST: bytea as \\x.., timestamps with T, infinity as a string."""
    wrapped = sql.SQL(
        "with found as ({}) select coalesce(json_agg(found), '[]')::text as body,"
        " count(*) as number from found"
    ).format(statement)
    answer = connection.execute(wrapped, values).fetchone()
    return (answer["body"], answer["number"]) if answer else ("[]", 0)


def _select(call: Call, table: Table, connection: psycopg.Connection[dict[str, Any]]) -> Response:
    statement, values = select_sql(table, call.parts)
    body, number = _rows(connection, statement, values)
    start = int(dict(call.parts).get("offset", 0))
    total = "*"
    if call.preferences().get("count") == "exact":
        count, count_values = count_sql(table, call.parts)
        answer = connection.execute(count, count_values).fetchone()
        total = str(answer["count"]) if answer else "0"
    span = f"{start}-{start + number - 1}" if number else "*"
    return _text(body, headers={"Content-Range": f"{span}/{total}"})


def _insert(call: Call, table: Table, connection: psycopg.Connection[dict[str, Any]]) -> Response:
    document = call.document()
    items = document if isinstance(document, list) else [document]
    if not items:
        return _text("[]", 201)
    options, preferences = dict(call.parts), call.preferences()
    columns = options["columns"].split(",") if "columns" in options else list(items[0])
    if "columns" not in options and any(set(item) != set(items[0]) for item in items):
        raise ApiError(400, "PGRST102", "All object keys must match")
    if preferences.get("missing") == "default" and any(set(item) != set(columns) for item in items):
        raise unsupported("missing=default with rows of different columns")
    resolution = preferences.get("resolution")
    if resolution not in (None, "merge-duplicates", "ignore-duplicates"):
        raise unsupported(f"resolution={resolution}")
    statement = insert_sql(
        table, columns, on_conflict=options.get("on_conflict"), resolution=resolution
    )
    return _write(statement, [json.dumps(items)], 201, call, connection)


def _update(call: Call, table: Table, connection: psycopg.Connection[dict[str, Any]]) -> Response:
    document = call.document()
    if not isinstance(document, dict) or not document:
        raise ApiError(400, "PGRST102", "PATCH takes one non-empty object")
    statement, values = update_sql(table, list(document), call.parts)
    return _write(statement, [json.dumps(document), *values], 200, call, connection)


def _write(
    statement: sql.Composed,
    values: list[Any],
    status: int,
    call: Call,
    connection: psycopg.Connection[dict[str, Any]],
) -> Response:
    wanted = call.preferences().get("return", "minimal")
    if wanted == "representation":
        body, _ = _rows(connection, statement + sql.SQL(" returning *"), values)
        return _text(body, status)
    connection.execute(statement, values)
    return Response(status_code=204 if status == 200 else status)  # noqa: PLR2004


def _json(value: object, status: int) -> Response:
    return _text(json.dumps(value, separators=(",", ":")), status)


def _text(body: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        body, status, media_type="application/json; charset=utf-8", headers=dict(headers or {})
    )


def build_app(uri: str, schemas: list[str], authenticator: Authenticator) -> Starlette:
    """The ASGI application."""
    gateway = Gateway(uri, schemas, authenticator)

    async def live(_: Request) -> Response:
        return Response(status_code=200)

    async def ready(_: Request) -> Response:
        return Response(status_code=200 if await run_in_threadpool(gateway.ping) else 503)

    async def everything(request: Request) -> Response:
        call = Call(
            method=request.method,
            target=request.path_params["target"],
            parts=list(request.query_params.multi_items()),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.body(),
        )
        return await run_in_threadpool(gateway.handle, call)

    methods = ["GET", "POST", "PATCH", "PUT", "DELETE"]
    return Starlette(
        routes=[
            Route("/live", live),
            Route("/ready", ready),
            Route("/{target:path}", everything, methods=methods),
        ]
    )


def main(getenv: Callable[[str], str] = os.environ.__getitem__) -> None:
    """Serve until TERM. The variables are PostgREST's, so that either can be started."""
    authenticator = Authenticator(
        getenv("PGRST_JWT_SECRET"), getenv("PGRST_DB_ANON_ROLE"), getenv("PGRST_JWT_AUD")
    )
    signal.signal(signal.SIGUSR2, lambda *_: authenticator.reload())
    app = build_app(getenv("PGRST_DB_URI"), getenv("PGRST_DB_SCHEMAS").split(","), authenticator)
    uvicorn.run(
        app,
        host=getenv("PGRST_SERVER_HOST"),
        port=int(getenv("PGRST_SERVER_PORT")),
        log_level="warning",
        access_log=False,
    )


if __name__ == "__main__":
    main()
