"""Applies deploy/postgres/migrations in order, each file once, in a transaction of its own."""

from __future__ import annotations

import hashlib
from pathlib import Path

from media_pipeline.errors import SystemicError

_TABLE = """
create table if not exists public.schema_migration (
    name text primary key, sha256 text not null, applied_at timestamptz not null default now())
"""


def migrations_dir() -> Path:
    """The folder with the SQL files: in the repository, else inside the installed wheel."""
    package = Path(__file__).resolve().parents[1]
    for candidate in (package.parent / "deploy/postgres/migrations", package / "migrations"):
        if candidate.is_dir():
            return candidate
    raise SystemicError(
        "the migrations are in neither the repository nor the wheel.",
        remedy="reinstall media-pipeline.",
        code="installation_incomplete",
    )


def apply_migrations(dsn: str, directory: Path | None = None) -> list[str]:
    """Apply what is new and answer its names; SystemicError when an applied file has changed."""
    import psycopg  # the command line stays quick

    applied_now = []
    with psycopg.connect(dsn, autocommit=True) as connection:
        # Two starters at once: the second waits and finds nothing left to do.
        connection.execute("select pg_advisory_lock(hashtext('media_pipeline.migrations'))")
        connection.execute(_TABLE)
        rows = connection.execute("select name, sha256 from public.schema_migration").fetchall()
        applied = {str(name): str(digest) for name, digest in rows}
        for file in sorted((directory or migrations_dir()).glob("*.sql")):
            text = file.read_text()
            digest = hashlib.sha256(text.encode()).hexdigest()
            if file.name in applied:
                if applied[file.name] != digest:
                    raise SystemicError(
                        f"migration {file.name} was changed after it had been applied.",
                        remedy="restore the file and put the change into a new one.",
                        code="migration_changed",
                    )
                continue
            with connection.transaction():
                connection.execute(text.encode())
                connection.execute("reset role")  # files take the owner's role for themselves
                connection.execute(
                    "insert into public.schema_migration (name, sha256) values (%s, %s)",
                    (file.name, digest),
                )
            applied_now.append(file.name)
    return applied_now
