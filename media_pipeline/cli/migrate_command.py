"""`migrate`: the ledger's schema, brought up to what this version needs."""

from __future__ import annotations

import typer

from media_pipeline.errors import SystemicError, TransientError


def register(app: typer.Typer) -> None:
    """Add `migrate` to the command line."""
    app.command()(migrate)


def migrate() -> None:
    """Apply new migrations to MEDIA_PIPELINE_LEDGER__DATABASE_URL, each once, in order.

    May be repeated, and by several at once: whoever comes second waits and finds nothing to do.
    """
    import psycopg  # quick --help

    from media_pipeline.local_stack.migrations import apply_migrations
    from media_pipeline.settings import load_settings

    url = load_settings().ledger.database_url
    if url is None:
        raise SystemicError(
            "the ledger's database is not named.",
            remedy="set MEDIA_PIPELINE_LEDGER__DATABASE_URL to a role that may create roles.",
            code="credentials_missing",
        )
    try:
        applied = apply_migrations(url.get_secret_value())
    except psycopg.OperationalError as error:
        # Not quoted: libpq's message may carry parts of the address.
        raise TransientError(
            f"the ledger's database does not answer: {type(error).__name__}.",
            remedy="check that PostgreSQL is up and that host, database, role and password of"
            " MEDIA_PIPELINE_LEDGER__DATABASE_URL are right, then repeat.",
            code="database_unreachable",
        ) from None
    except psycopg.errors.InsufficientPrivilege as error:
        raise SystemicError(
            f"the role may not do what a migration needs: {error.diag.message_primary}.",
            remedy="take a role with CREATEROLE that owns the database.",
            code="database_refused",
        ) from error
    for name in applied:
        print(f"applied {name}")
    print(f"{len(applied)} migrations applied" if applied else "nothing to do")
