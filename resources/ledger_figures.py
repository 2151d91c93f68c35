"""The ledger's figures behind PostgREST: `FigureStore` on the function of migration 0050."""

from __future__ import annotations

from media_pipeline.telemetry.figures import LedgerFigures
from resources.postgrest_client import PostgrestClient


class PostgrestFigures:
    """`FigureStore`; one request."""

    def __init__(self, client: PostgrestClient) -> None:
        self._client = client

    def figures(self) -> LedgerFigures:
        """See `FigureStore.figures`."""
        return LedgerFigures(**self._client.call("metrics", {}))
