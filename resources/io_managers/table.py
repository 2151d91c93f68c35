"""TableIOManager: rows of a Dagster asset in a table behind PostgREST.

Works in any Dagster project, without this pipeline's ledger:

    @dg.asset(partitions_def=..., metadata={"table": "invoice"}, io_manager_key="rows")
    def invoice(context) -> list[dict]:
        return [{"id": 1, "day": context.partition_key, "total": 3}]

    defs = dg.Definitions(assets=[invoice], resources={"rows": TableIOManager(
        credentials=CredentialsResource(), url="http://postgrest:3000", schema_name="public",
        key="id", partition_column="day")})

Rows are a list of mappings or a pandas DataFrame, all with the same columns. Writing is an
upsert on `key`, so a run that is repeated changes nothing. An input annotated
`pandas.DataFrame` is loaded as one, any other as a list of mappings; with
`partition_column` only the rows of the run's partitions are loaded.
"""

# No postponed annotations: Dagster reads ResourceDependency from the real ones.
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from pydantic import Field

from media_pipeline.domain.ports import CredentialSource
from resources.postgrest_client import PostgrestClient, Row

#: Partition keys in one filter: addresses stay far below the usual 8 kB.
_KEYS_PER_REQUEST = 50


class TableIOManager(dg.ConfigurableIOManager):
    """Upserts rows and selects them again; the table is the asset's `table` metadata or name."""

    credentials: dg.ResourceDependency[CredentialSource]
    url: str = Field(description="Base address of PostgREST.")
    schema_name: str = Field(description="Schema that PostgREST exposes.")
    key: str = Field(description="Unique column: what an upsert merges on and paging follows.")
    partition_column: str | None = Field(
        default=None, description="Column that holds the partition key, for partitioned assets."
    )
    page_rows: int = Field(default=1000, description="Rows of one request, both ways.")
    timeout_seconds: float = Field(default=30, description="Bound on one request.")

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Raises ValueError for rows of another partition or with unequal columns."""
        rows = self._checked(context, _rows_of(obj))
        client, table = self._client(), _table(context)
        for start in range(0, len(rows), self.page_rows):
            client.upsert(table, rows[start : start + self.page_rows], on_conflict=[self.key])
        context.add_output_metadata({"table": table, "rows": len(rows)})

    def load_input(self, context: dg.InputContext) -> Any:
        """All rows of the upstream asset, or those of the partitions that are asked for."""
        client = self._client()
        upstream = context.upstream_output
        table = _table(upstream) if upstream else context.asset_key.path[-1]
        rows: list[Row] = []
        for filters in self._filters(context):
            rows += client.select(table, filters, key=self.key, page_rows=self.page_rows)
        wanted = context.dagster_type.typing_type
        if getattr(wanted, "__module__", "").partition(".")[0] == "pandas":
            import pandas as pd  # only where somebody asked for it

            return pd.DataFrame(rows)
        return rows

    def _filters(self, context: dg.InputContext) -> list[dict[str, str]]:
        if not (self.partition_column and context.has_asset_partitions):
            return [{}]
        keys = list(context.asset_partition_keys)
        pages = (keys[at : at + _KEYS_PER_REQUEST] for at in range(0, len(keys), _KEYS_PER_REQUEST))
        return [{self.partition_column: f"in.({','.join(map(_quoted, page))})"} for page in pages]

    def _checked(self, context: dg.OutputContext, rows: Sequence[Row]) -> list[Row]:
        columns = set(rows[0]) if rows else set()
        partitions = set(context.asset_partition_keys) if context.has_asset_partitions else None
        for row in rows:
            if set(row) != columns or self.key not in row:
                raise ValueError(
                    f"every row needs the same columns and {self.key!r}: {sorted(row)} differs"
                    f" from {sorted(columns)}"
                )
            if self.partition_column and partitions is not None:
                found = str(row.get(self.partition_column))
                if found not in partitions:
                    raise ValueError(
                        f"a row of partition {found!r} in a run of {sorted(partitions)[:5]}:"
                        f" set {self.partition_column!r} to the partition key"
                    )
        return list(rows)

    def _client(self) -> PostgrestClient:
        return PostgrestClient(
            self.url,
            self.credentials,
            schema=self.schema_name,
            timeout_seconds=self.timeout_seconds,
        )


def _rows_of(obj: Any) -> list[Row]:
    if hasattr(obj, "to_dict") and hasattr(obj, "columns"):  # a DataFrame, without importing it
        found: list[Row] = obj.to_dict("records")
        return found
    if isinstance(obj, Sequence) and all(isinstance(row, Mapping) for row in obj):
        return [dict(row) for row in obj]
    raise TypeError(f"rows are a list of mappings or a DataFrame, not {type(obj).__name__}")


def _table(context: dg.OutputContext) -> str:
    metadata = context.definition_metadata or {}
    return str(metadata.get("table") or context.asset_key.path[-1])


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
