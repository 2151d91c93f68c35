"""Shared fixtures and the rule that a test's folder tells what it may need."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

TIERS = ("unit", "contract", "integration", "e2e", "architecture", "faults")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "servers: needs the embedded stack (set by its fixtures)")
    # Machines are shared: how long an example takes says nothing of the code.
    settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("shared")
    for tier in TIERS:
        config.addinivalue_line("markers", f"{tier}: tier, set from the folder")


#: What waits longest starts first; the rest fills the gaps.
_FIRST = ("e2e", "faults", "integration")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    root = Path(__file__).parent
    items.sort(key=lambda item: _weight(item.path.relative_to(root).parts[0]))
    for item in items:
        tier = item.path.relative_to(root).parts[0]
        if tier not in TIERS:
            raise pytest.UsageError(f"{item.path}: tests live below tests/<{'|'.join(TIERS)}>/")
        item.add_marker(tier)
        if "stack" in getattr(item, "fixturenames", ()):
            if tier in ("unit", "architecture"):
                raise pytest.UsageError(
                    f"{item.nodeid} is a {tier} test and asks for `stack`:"
                    " move it to tests/integration or tests/contract"
                )
            item.add_marker("servers")


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """What one worker runs: a file, or all files that share one Dagster."""
    from xdist.scheduler import LoadScopeScheduling

    class BySharedServers(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            alone = "tests/e2e/" not in file or file.endswith("test_readme.py")
            return file if alone else "tests/e2e"

    return BySharedServers(config, log)


def _weight(tier: str) -> int:
    return _FIRST.index(tier) if tier in _FIRST else len(_FIRST)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """The embedded stack, once per session, on free ports and fresh data."""
    from tests.stacks import throwaway_stack

    with throwaway_stack(tmp_path_factory.mktemp("stack")) as running:
        yield running
