"""A client for PostgREST: pages, upserts, functions; errors by SQLSTATE first, status second."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from media_pipeline.domain.failures import of_postgrest, retry_after
from media_pipeline.domain.ports import CredentialSource
from media_pipeline.errors import MediaPipelineError, SystemicError, TransientError
from resources.retries import RetryLaterError, with_retries

Row = dict[str, Any]

_CONNECT_SECONDS = 3.0


class PostgrestClient:
    """One PostgREST; a connection pool per thread. The token is asked for at each request."""

    def __init__(
        self,
        url: str,
        credentials: CredentialSource,
        *,
        schema: str,
        timeout_seconds: float = 30,
    ) -> None:
        self._url = url.rstrip("/")
        self._credentials = credentials
        self._schema = schema
        self._timeout = timeout_seconds
        self._local = threading.local()

    def call(self, function: str, arguments: Mapping[str, Any]) -> Any:
        """POST /rpc/<function>; rows for set-returning functions, the value for others."""
        return self._request("POST", f"rpc/{function}", body=arguments)

    def upsert(self, table: str, rows: Sequence[Row], *, on_conflict: Sequence[str]) -> None:
        """Insert or merge rows, all with the same columns; the last of a repeated key wins.

        PostgreSQL refuses a key twice in one statement, so they are folded first.
        """
        folded = {tuple(row[name] for name in on_conflict): row for row in rows}
        if not folded:
            return
        self._request(
            "POST",
            table,
            query={"on_conflict": ",".join(on_conflict), "columns": ",".join(rows[0])},
            body=list(folded.values()),
            prefer="resolution=merge-duplicates,return=minimal",
        )

    def select(
        self,
        table: str,
        filters: Mapping[str, str] | None = None,
        *,
        key: str,
        columns: Sequence[str] = ("*",),
        page_rows: int = 1000,
    ) -> Iterator[Row]:
        """All matching rows in order of `key` (unique), page by page: no offset is ever counted.

        `filters` in PostgREST's form, for example {"state": "eq.open"}.
        """
        if filters and key in filters:
            raise ValueError(f"{key} pages the answer and cannot be filtered as well")
        after: Any = None
        while True:
            query = {
                **(filters or {}),
                "select": ",".join(columns),
                "order": f"{key}.asc",
                "limit": str(page_rows),
            }
            if after is not None:
                query[key] = f"gt.{after}"
            rows: list[Row] = self._request("GET", table, query=query)
            yield from rows
            if len(rows) < page_rows:
                return
            after = rows[-1][key]

    def _request(
        self,
        method: str,
        target: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        prefer: str | None = None,
    ) -> Any:
        headers = {
            ("Accept-Profile" if method == "GET" else "Content-Profile"): self._schema,
            "Content-Type": "application/json",
        }
        if prefer:
            headers["Prefer"] = prefer
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()

        def send() -> Any:
            token = self._credentials.secret("ledger_token")
            try:
                return self._send(method, target, query, data, {**headers, **_bearer(token)})
            except _TokenError:
                # Rotated or expired in between: once more with what is current now.
                self._credentials.refused("ledger_token", token)
                token = self._credentials.secret("ledger_token")
                return self._send(method, target, query, data, {**headers, **_bearer(token)})

        return with_retries(send)

    def _send(
        self,
        method: str,
        target: str,
        query: Mapping[str, str] | None,
        data: bytes | None,
        headers: Mapping[str, str],
    ) -> Any:
        import requests  # kept out of definitions' import

        session = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
        try:
            answer = session.request(
                method,
                f"{self._url}/{target}",
                params=query,
                data=data,
                headers=dict(headers),
                timeout=(_CONNECT_SECONDS, self._timeout),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise TransientError(
                f"PostgREST at {self._url} did not answer {target}: {type(error).__name__}.",
                remedy="check that PostgREST is up and reachable; it is tried again.",
                code="ledger_unavailable",
            ) from error
        if answer.is_redirect:
            raise SystemicError(
                f"{self._url} redirects {target}; redirects are not followed.",
                remedy="correct MEDIA_PIPELINE_LEDGER__URL.",
                code="ledger_wrong_endpoint",
            )
        if answer.ok:
            return answer.json() if answer.content else None
        raise _error_of(answer.status_code, answer.text, answer.headers, target)


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


class _TokenError(SystemicError):
    """The token was refused; worth one more try with a fresh one."""


def _error_of(
    status: int, text: str, headers: Mapping[str, str], target: str
) -> MediaPipelineError:
    """PostgREST's answer as an error of the taxonomy."""
    try:
        body = json.loads(text)
    except ValueError:
        body = {}
    if not isinstance(body, dict):
        body = {}
    code = str(body.get("code") or "")
    what = f"{target}: {status} {code} {body.get('message') or text[:200]}"
    failure = of_postgrest(status, code)
    if failure.code == "credentials_refused":
        return _TokenError(what, remedy=failure.remedy, code=failure.code)
    if failure.home == "transient":
        error = RetryLaterError(what, remedy=failure.remedy, code=failure.code)
        error.after_seconds = retry_after(headers.get("Retry-After"))
        return error
    return failure.error(what)
