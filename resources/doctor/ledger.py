"""PostgREST, the role it gives us, row security, and locks that make writers wait."""

from __future__ import annotations

from typing import Any

from media_pipeline.errors import MediaPipelineError, PermanentError, SystemicError
from media_pipeline.settings import Settings
from resources.doctor.finding import Finding, failed, of_error, ok, skew
from resources.postgrest_client import PostgrestClient

#: What shows that a role is of use to some component.
_WRITES = {"register", "claim_batch", "record", "mark_published", "act_on_letters"}


def check_ledger(settings: Settings, client: PostgrestClient, now: float) -> list[Finding]:
    """Asks `doctor()`, which reads catalogues alone and waits for nobody."""
    name = "ledger"
    try:
        answer = client.call("doctor", {})
    except PermanentError as error:
        return [
            failed(
                name,
                f"{settings.ledger.url} answers, but not like PostgREST: {error.message}",
                "ledger_wrong_endpoint",
                "correct MEDIA_PIPELINE_LEDGER__URL and __SCHEMA_NAME.",
            )
        ]
    except SystemicError as error:
        if error.code == "ledger_schema":
            return [_wrong_endpoint_or_schema(settings, error)]
        return [of_error(name, error)]
    except MediaPipelineError as error:
        return [of_error(name, error)]
    if not isinstance(answer, dict) or "role" not in answer:
        return [
            failed(
                name,
                f"{settings.ledger.url} gave no answer of the ledger.",
                "ledger_wrong_endpoint",
                "correct MEDIA_PIPELINE_LEDGER__URL.",
            )
        ]
    return [
        *(skew(name, float(answer["at"]), now) or [ok(name, "PostgREST and its database answer.")]),
        _role(answer),
        _row_security(answer),
        _locks(answer),
    ]


def _wrong_endpoint_or_schema(settings: Settings, error: SystemicError) -> Finding:
    if "PGRST" in error.message or "42883" in error.message:
        return of_error("ledger", error)
    return failed(
        "ledger",
        f"{settings.ledger.url}: {error.message}",
        "ledger_wrong_endpoint",
        "correct MEDIA_PIPELINE_LEDGER__URL.",
    )


def _role(answer: dict[str, Any]) -> Finding:
    role, may = str(answer["role"]), set(answer["may"])
    writes = sorted(may & _WRITES)
    if writes or role in ("media_reader", "media_exporter"):
        return ok("ledger role", f"{role} may {', '.join(writes) or 'read'}.")
    return failed(
        "ledger role",
        f"{role} may call no function that a component needs.",
        "ledger_denied",
        "correct the token's role claim, or apply deploy/postgres/migrations (GRANTs).",
    )


def _row_security(answer: dict[str, Any]) -> Finding:
    name = "row security"
    if answer["shut"]:
        return failed(
            name,
            f"no policy lets the ledger's own functions into {', '.join(answer['shut'])}: every"
            " write fails with 42501.",
            "rls_denied",
            "recreate the policy owner_all on it as in deploy/postgres/migrations.",
        )
    if answer["unguarded"]:
        return Finding(
            name,
            "warning",
            f"row security is not forced on {', '.join(answer['unguarded'])}.",
            "rls_off",
            "alter table ... enable row level security; alter table ... force row level security.",
        )
    return ok(name, "forced on every table, with a policy for its functions.")


def _locks(answer: dict[str, Any]) -> Finding:
    name = "locks"
    held, waiting = answer["locks"], int(answer["waiting"])
    if not held and not waiting:
        return ok(name, "nobody holds a table, nobody waits.")
    who = "; ".join(
        f"pid {one['pid']} has {one['mode']} on {one['table']}"
        + (f" for {one['seconds']:.0f} s" if one.get("seconds") is not None else "")
        for one in held
    )
    return failed(
        name,
        f"{waiting} waiting; {who or 'for rows that others hold'}.",
        "ledger_locked",
        "find the session in pg_stat_activity; if it is no migration that is about to end,"
        " select pg_terminate_backend(pid) (deploy/runbooks/ledger-writes.md).",
    )
