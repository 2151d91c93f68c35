"""Spans as OTLP traces: one trace per media asset, and one span per run that links to them.

The trace's id is made from media asset and content version, so that whoever works on it, the
run, a pod of its own or the relay, writes into the same trace without being told. The
producer's span is linked, not continued: its trace ended when the upload did.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from media_pipeline import __version__
from media_pipeline.settings import TelemetrySettings
from media_pipeline.telemetry.spans import Recorder, Span, recording

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Link, SpanContext

_log = logging.getLogger(__name__)
#: (asset id, content version, run id)
Attempt = tuple[str, str, str]
_SEND_SECONDS = 5
_CHUNK = 512
_TRACEPARENT = re.compile(
    r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}"
)


def trace_id_of(asset_id: str, content_version: str) -> int:
    """128 bits, the same wherever this media asset is worked on."""
    return _number(f"trace\n{asset_id}\n{content_version}", 16)


def attempt_id_of(asset_id: str, content_version: str, run_id: str) -> int:
    """64 bits: the span of one run's work on one media asset."""
    return _number(f"attempt\n{asset_id}\n{content_version}\n{run_id}", 8)


def _number(text: str, size: int) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:size], "big") or 1


def kept(spans: Sequence[Span], sample_ratio: float) -> list[Span]:
    """Every span of media assets for which something failed; of the others a share, the same
    media assets in every process."""
    by_asset: defaultdict[tuple[str, str], list[Span]] = defaultdict(list)
    for span in spans:
        by_asset[span.asset_id, span.content_version].append(span)
    found: list[Span] = []
    for identity, group in by_asset.items():
        share = (trace_id_of(*identity) & (2**64 - 1)) / 2**64
        if share < sample_ratio or any(one.failure or one.keep for one in group):
            found += group
    return found


@contextmanager
def tracing(settings: TelemetrySettings, run_id: str) -> Iterator[Recorder | None]:
    """Record inside the block and send at its end; None, and nothing, without an endpoint.

    A store that does not take spans costs a few seconds and a line in the log, never the run.
    """
    if not settings.otlp_endpoint:
        yield None
        return
    with recording(run_id) as recorder:
        try:
            yield recorder
        finally:
            spans = recorder.drain()
            if spans:
                _send(settings, run_id, spans)


def _send(settings: TelemetrySettings, run_id: str, spans: Sequence[Span]) -> None:
    import requests
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import SpanExportResult

    token = settings.otlp_token.get_secret_value() if settings.otlp_token else None
    session = requests.Session()
    session.max_redirects = 0  # spans and token go where they were meant to, or nowhere
    exporter = OTLPSpanExporter(
        session=session,
        endpoint=f"{str(settings.otlp_endpoint).rstrip('/')}/v1/traces",
        headers={"Authorization": f"Bearer {token}"} if token else {},
        timeout=_SEND_SECONDS,
    )
    try:
        ready = readable_spans(run_id, spans, settings.trace_sample_ratio)
        for start in range(0, len(ready), _CHUNK):
            if exporter.export(ready[start : start + _CHUNK]) is not SpanExportResult.SUCCESS:
                _log.warning("%d spans were not sent to the trace store", len(ready) - start)
                return
    finally:
        exporter.shutdown()  # type: ignore[no-untyped-call]  # published so


def readable_spans(run_id: str, spans: Sequence[Span], sample_ratio: float) -> list[ReadableSpan]:
    """What is sent: kept spans below the attempts that they belong to, and the run's own."""
    wanted = kept(spans, sample_ratio)
    first: dict[Attempt, float] = {}
    producers: dict[Attempt, str] = {}
    for span in wanted:
        attempt = (span.asset_id, span.content_version, span.run_id)
        first[attempt] = min(span.started, first.get(attempt, span.started))
        if span.producer:
            producers[attempt] = span.producer
    ready = [_readable(span, first, producers) for span in wanted]
    if run_id:
        ready.append(_run_span(run_id, spans, sorted(first)))
    return ready


def _readable(
    span: Span, first: Mapping[Attempt, float], producers: Mapping[Attempt, str]
) -> ReadableSpan:
    attempt = (span.asset_id, span.content_version, span.run_id)
    trace, whole = trace_id_of(*attempt[:2]), attempt_id_of(*attempt)
    number = whole if span.whole else int.from_bytes(os.urandom(8), "big") or 1
    return _span(
        span.name,
        _context(trace, number),
        parent=None if span.whole else _context(trace, whole),
        started=first[attempt] if span.whole else span.started,
        ended=span.ended,
        failure=span.failure,
        links=[*_producer_link(producers.get(attempt, ""))] if span.whole else [],
        attributes={
            "media.asset_id": span.asset_id,
            "media.content_version": span.content_version,
            "dagster.run_id": span.run_id,
            **span.attributes,
        },
    )


def _run_span(run_id: str, spans: Sequence[Span], attempts: Sequence[Attempt]) -> ReadableSpan:
    from opentelemetry.trace import Link

    media = {(span.asset_id, span.content_version) for span in spans}
    failed = {(one.asset_id, one.content_version) for one in spans if one.failure}
    return _span(
        "batch run",
        _context(_number(f"run\n{run_id}", 16), int.from_bytes(os.urandom(8), "big") or 1),
        parent=None,
        started=min(span.started for span in spans if span.name != "queue wait"),
        ended=max(span.ended for span in spans),
        failure="",
        links=[Link(_context(trace_id_of(*one[:2]), attempt_id_of(*one))) for one in attempts],
        attributes={
            "dagster.run_id": run_id,
            "media.assets": len(media),
            "media.assets_failed": len(failed),
        },
    )


def _producer_link(traceparent: str) -> Iterator[Link]:
    """Strangers write that header: what is no traceparent is no link."""
    from opentelemetry.trace import Link

    if found := _TRACEPARENT.fullmatch(traceparent):
        yield Link(_context(int(found[1], 16), int(found[2], 16)))


def _context(trace: int, span: int) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags

    return SpanContext(trace, span, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _span(
    name: str,
    context: SpanContext,
    *,
    parent: SpanContext | None,
    started: float,
    ended: float,
    failure: str,
    links: Sequence[Link],
    attributes: dict[str, Any],
) -> ReadableSpan:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Status, StatusCode

    return ReadableSpan(
        name,
        context=context,
        parent=parent,
        resource=Resource({"service.name": "media-pipeline", "service.version": __version__}),
        attributes={**attributes, **({"error.code": failure} if failure else {})},
        links=links,
        status=Status(StatusCode.ERROR, failure) if failure else Status(StatusCode.UNSET),
        start_time=int(started * 1e9),
        end_time=int(ended * 1e9),
    )
