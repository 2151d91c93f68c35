"""The collector: asks every source at each scrape and tells what answered.

Nothing is kept between scrapes. Totals live in the ledger, so a restart of the exporter resets
no counter and a crash of a run loses none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from media_pipeline import __version__
from media_pipeline.domain.recovery import Controls
from media_pipeline.telemetry import families, metrics
from media_pipeline.telemetry.families import Samples
from media_pipeline.telemetry.figures import (
    DeviceFigures,
    EventLogFigures,
    LedgerFigures,
    OrchestratorFigures,
)
from media_pipeline.telemetry.sources import Answer, Source, T


class PipelineCollector(Collector):
    """A collector for `prometheus_client`.

    `probes` are dependencies that are only asked whether they work. `position` reads the
    sensor's cursor of the ingested topic out of Dagster's figures; None when there is none.
    """

    def __init__(
        self,
        *,
        ledger: Callable[[], LedgerFigures],
        controls: Callable[[], Controls],
        event_log: Callable[[], EventLogFigures],
        orchestrator: Callable[[], OrchestratorFigures],
        credentials: Callable[[], Mapping[str, float]],
        devices: Callable[[], Mapping[str, DeviceFigures]],
        probes: Mapping[str, Callable[[], None]],
        position: Callable[[OrchestratorFigures], Mapping[int, int]],
        processors: Sequence[str],
        deadline_seconds: float,
        image: str,
    ) -> None:
        self._ledger = Source("ledger", ledger)
        self._controls = Source("controls", controls)
        self._event_log = Source("event_log", event_log)
        self._orchestrator = Source("dagster", orchestrator)
        self._credentials = Source("credentials", credentials)
        self._devices = Source("devices", devices)
        self._probes = [Source(name, probe) for name, probe in probes.items()]
        self._position = position
        self._processors = processors
        self._deadline_seconds = deadline_seconds
        self._image = image

    def collect(self) -> Iterator[Family]:
        """One scrape: families of everything that answered within the deadline."""
        deadline = time.monotonic() + self._deadline_seconds
        samples = Samples()
        ledger, event_log = self._ledger.ask(), self._event_log.ask()
        orchestrator, credentials = self._orchestrator.ask(), self._credentials.ask()
        controls, devices = self._controls.ask(), self._devices.ask()
        probes = [(probe, probe.ask()) for probe in self._probes]

        if told := _note(samples, self._ledger, self._ledger.answer(ledger, deadline)):
            families.add_ledger(samples, told.value, self._processors)
        # No dependency of its own: the ledger's.
        if found := self._controls.answer(controls, deadline):
            families.add_controls(samples, found.value, time.time())
        dagster = self._orchestrator.answer(orchestrator, deadline)
        if dagster := _note(samples, self._orchestrator, dagster):
            families.add_orchestrator(samples, dagster.value)
        log = self._event_log.answer(event_log, deadline)
        if log := _note(samples, self._event_log, log):
            cursor = self._position(dagster.value) if dagster else {}
            families.add_event_log(samples, log.value, cursor)
        lifetimes = self._credentials.answer(credentials, deadline)
        if lifetimes := _note(samples, self._credentials, lifetimes):
            families.add_credentials(samples, lifetimes.value)
        # No dependency: most machines have no GPU.
        if gpus := self._devices.answer(devices, deadline):
            families.add_devices(samples, gpus.value)
        for probe, pending in probes:
            _note(samples, probe, probe.answer(pending, deadline))
        samples.add(metrics.BUILD, 1, __version__, self._image)
        return samples.families()


def _note(samples: Samples, source: Source[T], answer: Answer[T] | None) -> Answer[T] | None:
    """`dependency_up` and its seconds; answers the answer."""
    samples.add(metrics.DEPENDENCY_UP, 0 if answer is None else 1, source.name)
    if answer is not None:
        samples.add(metrics.DEPENDENCY_SECONDS, answer.seconds, source.name)
    return answer
