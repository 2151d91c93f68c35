"""What a Prometheus saw, against what the checker counts in the rows."""

from collections import Counter
from contextlib import contextmanager

from media_pipeline.domain.outcome import Code
from tests.e2e.prometheus_server import running_exporter, running_prometheus, samples_of
from tests.faults.checker import Facts
from tests.monitoring_programs import found


@contextmanager
def scraped(stack, folder):
    """A Prometheus that scrapes the exporter while servers die, or the exporter
    itself where there is no Prometheus: both answer `table(metric, *labels)`."""
    with running_exporter(stack) as (_, address):
        if found("prometheus") is None:
            yield Exporter(address)
            return
        with running_prometheus(folder, address) as prometheus:
            yield prometheus


class Exporter:
    """Its own answer, instead of what a Prometheus remembers of it."""

    def __init__(self, address: str) -> None:
        self.address = address

    def table(self, metric: str, *labels: str) -> dict[tuple[str, ...], int]:
        return {
            tuple(sample.labels[name] for name in labels): int(sample.value)
            for sample in samples_of(self.address)
            if sample.name == metric and sample.value
        }


def totals(source) -> dict[str, dict]:
    """The counters that operators look at, as they stand now. Attempts that failed for a moment
    are counted beside, and end up in no row."""
    processed = source.table("processor_events_processed_total", "processor", "outcome")
    failed = source.table("processor_events_failed_total", "processor", "code")
    return {
        "status": source.table("media_assets", "status"),
        "outcome": {key: count for key, count in processed.items() if key[1] != "transient"},
        "failed": {key: count for key, count in failed.items() if key[1] != "transient"},
        "dead letters": source.table("media_dead_letters_open", "stage", "code"),
    }


def durations_agree(source) -> bool:
    """Every outcome has its duration in the histogram."""
    sums: Counter[str] = Counter()
    processed = source.table("processor_events_processed_total", "processor", "outcome")
    for (processor, _), count in processed.items():
        sums[processor] += count
    histogram = source.table("processor_duration_seconds_count", "processor")
    return histogram == {(processor,): count for processor, count in sums.items()}


def counted(facts: Facts) -> dict[str, dict]:
    """The same out of the rows: each media asset and each derivative counts once."""

    def each(values) -> dict[tuple[str, ...], int]:
        return dict(Counter(values))

    return {
        "status": each((row["status"],) for row in facts.versions),
        "outcome": each((row["kind"], row["outcome"]) for row in facts.derivatives),
        "failed": each(
            (row["kind"], row["outcome"])
            for row in facts.derivatives
            if not Code(row["outcome"]).handled
        ),
        "dead letters": each((row["stage"], row["code"]) for row in facts.letters),
    }
