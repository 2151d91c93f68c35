"""PostgreSQL storage for a Dagster instance that launches runs of many asset partitions.

The stock class opens a new connection for every event and inserts the planned events of
a batch one by one; measured on two cores that held batches of 200 keys at 2-3 keys/s,
against 27-43 with this module. Three things differ, nothing else:

- each process keeps a small pool of connections,
- the planned events of a batch are one INSERT (stock does so for materializations only),
- each process looks once whether the tables exist; stock looks whenever an instance is made,
  which every tick of a sensor does.

Named in dagster.yaml as `storage: {custom: {module: media_pipeline.dagster_storage, ...}}`;
batches come into being with the environment variable `DAGSTER_EVENT_BATCH_SIZE`. It leans
on internals of the pinned Dagster, guarded by tests/integration/test_dagster_storage.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import sqlalchemy.pool
from dagster import DagsterEventType, EventLogEntry
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage
from dagster_postgres.utils import (
    create_pg_engine,
    get_token_provider_from_config,
    pg_url_from_config,
)

if TYPE_CHECKING:
    from dagster._serdes import ConfigurableClassData

#: Connections that one process keeps, and how many more it may open under load.
POOL_SIZE = 2
MAX_OVERFLOW = 20
RECYCLE_SECONDS = 1800
#: Databases whose tables this process has seen or made.
_WITH_TABLES: set[str] = set()


class BatchingEventLogStorage(PostgresEventLogStorage):
    """Inserts the planned events of a batch in one statement."""

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Planned events together, all others as the base class does."""
        planned: list[EventLogEntry] = []
        others: list[EventLogEntry] = []
        for event in events:
            is_planned = (
                event.get_dagster_event().event_type
                is DagsterEventType.ASSET_MATERIALIZATION_PLANNED
            )
            (planned if is_planned else others).append(event)
        if others:
            super().store_event_batch(others)
        if not planned:
            return
        statement = self.prepare_insert_event_batch(planned)
        with self.index_transaction() as connection:
            inserted = connection.execute(statement.returning(SqlEventLogStorageTable.c.id))
            ids = [int(row[0]) for row in inserted]
            last = {
                event.get_dagster_event().asset_key: (event, event_id)
                for event, event_id in zip(planned, ids, strict=True)
            }
            # One row per Dagster asset, in a fixed order: concurrent batches must not deadlock.
            for asset_key in sorted(last, key=str):
                self._store_asset_event(connection, *last[asset_key])


class PooledPostgresStorage(DagsterPostgresStorage):
    """`DagsterPostgresStorage` with pooled connections and batched planned events."""

    def __init__(
        self,
        postgres_url: str,
        should_autocreate_tables: bool = True,
        inst_data: ConfigurableClassData | None = None,
        token_provider: Any = None,
    ) -> None:
        look = should_autocreate_tables and postgres_url not in _WITH_TABLES
        super().__init__(postgres_url, look, inst_data, token_provider)
        self.should_autocreate_tables = should_autocreate_tables
        if look:
            _WITH_TABLES.add(postgres_url)
        self._event_log_storage = BatchingEventLogStorage(
            postgres_url, should_autocreate_tables=False, token_provider=token_provider
        )
        for storage in (self._event_log_storage, self._run_storage, self._schedule_storage):
            storage._engine = create_pg_engine(  # noqa: SLF001  # no setting exists for it
                postgres_url,
                token_provider,
                isolation_level="AUTOCOMMIT",
                poolclass=sqlalchemy.pool.QueuePool,
                pool_size=POOL_SIZE,
                max_overflow=MAX_OVERFLOW,
                pool_recycle=RECYCLE_SECONDS,
            )

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Self:
        return cls(
            pg_url_from_config(config_value),
            config_value.get("should_autocreate_tables", True),
            inst_data,
            get_token_provider_from_config(config_value),
        )
