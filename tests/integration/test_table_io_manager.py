"""TableIOManager on the stand-in: rows there and back, by partition, without duplicates."""

import dagster as dg
import pytest

from media_pipeline.settings import LedgerSettings, Settings
from resources.credentials import SettingsCredentials
from resources.io_managers.table import TableIOManager

DAYS = dg.StaticPartitionsDefinition(["mon,day", 'tues"day', "wednesday"])


@pytest.fixture
def rows_manager(stack):
    import psycopg

    with psycopg.connect(stack.postgres_dsn, autocommit=True) as connection:
        connection.execute("drop table if exists media.note")
        connection.execute(
            "create table media.note (id int primary key, day text not null, total numeric)"
        )
        connection.execute("grant select, insert, update on media.note to media_writer")
        connection.execute("notify pgrst, 'reload schema'")
    settings = Settings(ledger=LedgerSettings(token=stack.ledger_token))
    yield TableIOManager(
        credentials=SettingsCredentials(settings),
        url=stack.ledger_url,
        schema_name="media",
        key="id",
        partition_column="day",
        page_rows=7,
    )
    with psycopg.connect(stack.postgres_dsn, autocommit=True) as connection:
        connection.execute("drop table media.note")


@dg.asset(partitions_def=DAYS, metadata={"table": "note"}, io_manager_key="rows")
def notes(context: dg.AssetExecutionContext) -> list[dict]:
    start = DAYS.get_partition_keys().index(context.partition_key) * 100
    return [
        {"id": start + number, "day": context.partition_key, "total": number}
        for number in range(20)
    ]


def test_rows_come_back_by_partition_and_a_repeated_run_adds_none(rows_manager):
    seen = []

    @dg.asset(partitions_def=DAYS)
    def report(notes: list[dict]) -> None:
        seen.append(notes)

    for day in [*DAYS.get_partition_keys(), 'tues"day']:
        result = dg.materialize(
            [notes, report], partition_key=day, resources={"rows": rows_manager}
        )
        assert result.success
    assert [len(rows) for rows in seen] == [20, 20, 20, 20]
    assert seen[1] == seen[3]
    assert {row["day"] for row in seen[0]} == {"mon,day"}
    metadata = result.asset_materializations_for_node("notes")[0].metadata
    assert metadata["rows"].value == 20


def test_a_data_frame_is_loaded_where_one_is_asked_for(rows_manager):
    import pandas as pd

    seen = []

    @dg.asset(metadata={"table": "note"}, io_manager_key="rows")
    def frame() -> pd.DataFrame:
        return pd.DataFrame({"id": range(500, 520), "day": "none", "total": 1.5})

    @dg.asset
    def report(frame: pd.DataFrame) -> None:
        seen.append(frame)

    assert dg.materialize([frame, report], resources={"rows": rows_manager}).success
    assert isinstance(seen[0], pd.DataFrame)
    assert list(seen[0]["id"]) == list(range(500, 520))


@pytest.mark.parametrize(
    "rows",
    [
        [{"id": 1, "day": "wednesday"}, {"id": 2, "day": "wednesday", "total": 1}],
        [{"day": "wednesday", "total": 1}],
        [{"id": 1, "day": "sunday", "total": 1}],
    ],
    ids=["unequal columns", "no key", "another partition"],
)
def test_rows_that_cannot_be_right_are_refused_before_anything_is_written(rows_manager, rows):
    @dg.asset(partitions_def=DAYS, metadata={"table": "note"}, io_manager_key="rows")
    def wrong() -> list[dict]:
        return rows

    with pytest.raises(ValueError, match="row"):
        dg.materialize([wrong], partition_key="wednesday", resources={"rows": rows_manager})
