"""What those who run the pipeline ask of the ledger: the port, and the figures it answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class OperationsLedger(Protocol):
    """Figures and lists from the ledger; every call reads a bounded number of rows.

    Raises only errors of `media_pipeline.errors`.
    """

    def retirable(self, asset_ids: Sequence[str], *, idle_seconds: float) -> list[str]:
        """Those of `asset_ids` all of whose content versions have ended, none of them finished
        or claimed within `idle_seconds`; in the order given. Unknown ids are left out."""
        ...
