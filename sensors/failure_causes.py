"""Why a run or a tick failed: from Dagster's events to a cause that can be counted and named."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from media_pipeline.batch_tags import run_keys
from media_pipeline.run_retries import MAX_RETRIES_TAG
from media_pipeline.sensor_ticks import SensorTicks
from sensors.runs import WILL_RETRY_TAG

#: Error code -> what is unhealthy when it comes. One alert each, not one per run.
DEPENDENCIES: Mapping[str, str] = {
    "ledger_unavailable": "ledger",
    "ledger_busy": "ledger",
    "ledger_denied": "ledger",
    "ledger_schema": "ledger",
    "object_store_unavailable": "object store",
    "object_store_refused": "object store",
    "bucket_missing": "object store",
    "event_log_unavailable": "event log",
    "event_log_refused": "event log",
    "event_log_wrong_endpoint": "event log",
    "sasl_mechanism": "event log",
    "tls_files": "event log",
    "tls_untrusted": "event log",
    "tls_wrong_host": "event log",
    "tls_expired": "event log",
    "tls_client_refused": "event log",
    "topic_missing": "event log",
    "credentials_refused": "credentials",
    "credentials_missing": "credentials",
    "sts_refused": "credentials",
    "sts_wrong_endpoint": "credentials",
    "vault_unavailable": "vault",
    "vault_tls": "vault",
    "vault_wrong_endpoint": "vault",
    # An incident of its own, which must not hide behind a refused password.
    "wrapping_token_used": "secret id",
}
#: Without these nothing is read, or nothing is told: their ticks page.
_LIFELINES = ("media_events_sensor", "outbox_relay_sensor")

_OURS = re.compile(r"\[(?P<code>[a-z_]+)\] (?P<message>.*?) Remedy: (?P<remedy>.*)", re.DOTALL)
_FRAME = re.compile(
    r'File ".*?/((?:media_pipeline|sensors|resources)/[\w/]+\.py)", line \d+, in (\S+)'
)
_VERDICT_CHECK = "batch_verdict"
_MAX_EVENTS = 50
_MAX_MESSAGE = 600

_UNEXPECTED = "nobody foresaw this: read the run's log; if a deploy came before it, roll it back."
_NO_EVENTS = (
    "the process ended without a word: look for an OOM kill, an evicted pod or a lost node, and"
    " at the run's pod log."
)
_WAITING = "retry the run once its cause is gone, or backfill the missing and failed partitions."


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed run, or a sensor whose ticks fail.

    `retried`: Dagster will launch it again by itself. `sensor`: its name, empty for a run;
    `ticks`: how many failed in a row.
    """

    run_id: str
    job: str
    failed_at: float
    step: str
    code: str
    message: str
    remedy: str
    where: str
    systemic: bool
    retried: bool
    asset_ids: tuple[str, ...] = ()
    sensor: str = ""
    ticks: int = 0

    @property
    def dependency(self) -> str | None:
        """What is unhealthy, when the code says so."""
        return DEPENDENCIES.get(self.code)

    @property
    def fingerprint(self) -> str:
        """Equal for equal causes; a dependency is one cause whatever runs it failed."""
        parts = ("dependency", self.dependency) if self.dependency else self._parts
        return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:12]

    @property
    def _parts(self) -> tuple[str, ...]:
        return (self.code, self.step or self.sensor, self.where)


def read_failure(
    instance: dg.DagsterInstance, run: dg.DagsterRun, failed_at: float, *, max_asset_ids: int
) -> Failure:
    """The cause of a failed run, from at most a few of its events."""
    events = [
        record.event_log_entry.get_dagster_event()
        for record in instance.get_records_for_run(
            run.run_id,
            of_type={
                dg.DagsterEventType.STEP_FAILURE,
                dg.DagsterEventType.ASSET_CHECK_EVALUATION,
                dg.DagsterEventType.RUN_FAILURE,
            },
            limit=_MAX_EVENTS,
        ).records
    ]
    step, code, message, remedy, where, asset_ids = _cause(events)
    return Failure(
        run_id=run.run_id,
        job=run.job_name,
        failed_at=failed_at,
        step=step,
        code=code,
        message=" ".join(message.split())[:_MAX_MESSAGE],
        remedy=" ".join(remedy.split())[:_MAX_MESSAGE],
        where=where,
        systemic=run.tags.get(MAX_RETRIES_TAG) == "0",
        retried=run.tags.get(WILL_RETRY_TAG) == "true",
        asset_ids=tuple((asset_ids or run_keys(run.tags, run.run_config))[:max_asset_ids]),
    )


def read_ticks(ticks: SensorTicks) -> Failure:
    """The cause of the last failed tick. `failed_at`: since when none ended well."""
    _, code, message, remedy, where, _ = _from_error("", list(_chain(ticks.error)))
    return Failure(
        run_id="",
        job="",
        failed_at=ticks.good_at or 0.0,
        step="",
        code=code,
        message=" ".join(message.split())[:_MAX_MESSAGE],
        remedy=" ".join(remedy.split())[:_MAX_MESSAGE],
        where=where,
        systemic=ticks.name in _LIFELINES,
        retried=False,
        sensor=ticks.name,
        ticks=ticks.failed,
    )


_Cause = tuple[str, str, str, str, str, list[str]]


def _cause(events: Sequence[Any]) -> _Cause:
    """Step, code, message, remedy, place in the code, media assets known to be concerned."""
    for event in events:
        if event.event_type is dg.DagsterEventType.STEP_FAILURE:
            chain = list(_chain(event.event_specific_data.error))
            if any("AssetCheckFailed" in (error.cls_name or "") for error in chain):
                return _waiting(event.step_key or "", events)
            return _from_error(event.step_key or "", chain)
    for event in events:
        if event.event_type is dg.DagsterEventType.RUN_FAILURE:
            data = event.event_specific_data
            chain = list(_chain(data.error if data else None))
            if chain:
                return _from_error("", chain)
            return ("", "run_died", event.message or "The run failed.", _NO_EVENTS, "", [])
    return ("", "run_died", "The run failed and wrote no reason.", _NO_EVENTS, "", [])


def _chain(error: Any) -> Iterator[Any]:
    while error is not None:
        yield error
        error = error.cause


def _from_error(step: str, chain: Sequence[Any]) -> _Cause:
    for error in chain:
        found = _OURS.search(error.message)
        if found:
            return (step, found["code"], found["message"], found["remedy"], "", [])
    root = chain[-1]
    frames = _FRAME.findall("".join(root.stack))
    where = ":".join(frames[-1]) if frames else ""
    return (step, root.cls_name or "unexpected", root.message, _UNEXPECTED, where, [])


def _waiting(step: str, events: Sequence[Any]) -> _Cause:
    """The batch's verdict failed: media assets wait for a retry, each with a reason."""
    for event in events:
        if event.event_type is not dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            continue
        evaluation = event.event_specific_data
        if evaluation.check_name != _VERDICT_CHECK or evaluation.passed:
            continue
        reasons = evaluation.metadata["waiting_for_retry"].value
        unknown = evaluation.metadata["unknown_keys"].value
        if not reasons:
            message = f"{unknown} asset partitions are not in the ledger: they have no source."
            remedy = "produce a media.ingested.v1 message for each of them."
            return (step, "unknown_keys", message, remedy, "", [])
        return _commonest(step, reasons)
    return (step, _VERDICT_CHECK, "A blocking asset check failed.", _WAITING, "", [])


def _commonest(step: str, reasons: Mapping[str, str]) -> _Cause:
    """The reason that most of the waiting media assets give."""
    heads = Counter(_head(reason) for reason in reasons.values())
    code = heads.most_common(1)[0][0]
    like = [key for key, reason in reasons.items() if _head(reason) == code]
    reason = reasons[like[0]]
    found = _OURS.search(reason)
    if found:
        return (step, code, found["message"], found["remedy"], "", like)
    return (
        step,
        code,
        f"{len(reasons)} media assets wait for a retry: {reason}",
        _WAITING,
        "",
        like,
    )


def _head(reason: str) -> str:
    found = _OURS.search(reason)
    return found["code"] if found else reason.split(":", 1)[0]
