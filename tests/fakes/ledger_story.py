"""What happens to one media asset in a ledger, real or in memory: it arrives, fails, ends well."""

import itertools
import uuid

from media_pipeline.domain.media_asset import MediaAsset, MessageRecord, SourceObject
from media_pipeline.domain.outcome import Code, Derivative, StoredArtifact, Verdict
from media_pipeline.domain.ports import Arrival, AssetResult, DeadLetterEntry, OutgoingEvent

OFFSETS = itertools.count(1_000_000)
TOPIC = "media.ingested.v1"
VERSION = "sha256:1"


def record_of(asset_id, headers=(("traceparent", b"00-1"),), value=None):
    value = f"original {asset_id}".encode() if value is None else value
    key = asset_id.encode()
    return MessageRecord(TOPIC, 2, next(OFFSETS), 1_700_000_000_000, key, value, tuple(headers))


def arrive(ledger, asset_id, record=None, version=VERSION):
    source = SourceObject("media", f"in/{asset_id}")
    asset = MediaAsset(asset_id, version, source, f"e-{asset_id}", "2026-01-01T00:00:00Z")
    record = record or record_of(asset_id)
    (answer,) = ledger.register([Arrival(asset, record)])
    return answer


def run(ledger, asset_id, code=None, run_id=None, root=None):
    """One run over the media asset: dead-lettered with `code`, or complete."""
    run_id = run_id or uuid.uuid4().hex
    (claim,) = ledger.claim(run_id, root or run_id, [asset_id])
    version = claim.asset.content_version
    letter = event = None
    artifacts = ()
    if code:
        dlq_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{asset_id} {version} text {code}"))
        letter = DeadLetterEntry(dlq_id, "text", code, "permanent", f"{asset_id} is broken")
    else:
        event = OutgoingEvent(f"event-{asset_id}-{version}", "media.asset_enriched.v1", b"k", b"{}")
        artifacts = (StoredArtifact("t.txt", "text/plain", f"derived/{asset_id}", "d" * 64, 7),)
    row = Derivative(
        asset_id, version, claim.fence, "text", "text-1", None if code else "i" * 64, 5,
        Code(code or "ok"), "", artifacts, {}, 0.1,
    )  # fmt: skip
    status = "dead_lettered" if code else "complete"
    decided = Verdict(status, "text" if code else "", code or "", "")
    found = AssetResult(asset_id, version, claim.fence, decided, None, 5, (row,), event, letter)
    assert ledger.record(run_id, [found], "9.9")[0].accepted
    return letter and letter.dlq_id


def bury(ledger, asset_id, code="invalid", **more):
    arrive(ledger, asset_id, **more)
    return run(ledger, asset_id, code)
