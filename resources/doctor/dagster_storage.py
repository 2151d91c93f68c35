"""Dagster's own storage: runs, events, schedules."""

from __future__ import annotations

from resources.doctor.finding import Finding, failed, ok, skipped

_REMEDY = "check DAGSTER_HOME, its dagster.yaml and the database that it names."


def check_dagster_storage() -> list[Finding]:
    """Opens the instance of DAGSTER_HOME and reads from each of its storages."""
    import dagster as dg
    import sqlalchemy.exc
    from dagster._core.errors import DagsterHomeNotSetError
    from dagster_postgres.utils import DagsterPostgresException

    name = "dagster storage"
    try:
        with dg.DagsterInstance.get() as instance:
            instance.get_runs(limit=1)
            instance.all_instigator_state()
            instance.all_asset_keys()
    except DagsterHomeNotSetError:
        return [skipped(name, "DAGSTER_HOME is not set here.")]
    except (
        DagsterPostgresException, sqlalchemy.exc.SQLAlchemyError, dg.DagsterError, OSError,
        ImportError,
    ) as error:  # fmt: skip
        return [failed(name, _reason(error), "dagster_storage", _REMEDY)]
    return [ok(name, "runs, events and sensors can be read.")]


def _reason(error: BaseException) -> str:
    """The first line of what the database driver said, which is what an operator can act on."""
    said = error.__cause__ or error
    text = str(getattr(said, "orig", None) or said)
    return f"{type(error).__name__}: {(text.splitlines() or [''])[0]}"
