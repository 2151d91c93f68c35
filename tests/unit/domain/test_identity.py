"""Names that must never move between releases, and what may share one."""

from media_pipeline.domain import identity

ENRICHED = "dee73a11-24b0-5c9c-9bcf-8de83cb0e05f"
DEAD = "be0be06c-f952-50b9-bc04-0731d51aba1a"


def test_ids_are_stable_across_releases():
    # Literal values: a consumer de-duplicates by them.
    assert (
        identity.enriched_event_id("a", "sha256:1", {"text": "t-1", "thumbnails": "h-1"})
        == identity.enriched_event_id("a", "sha256:1", {"thumbnails": "h-1", "text": "t-1"})
        == ENRICHED
    )
    assert identity.dead_letter_id("a", "sha256:1", "text", "invalid") == DEAD


def test_other_processor_other_event():
    one = identity.enriched_event_id("a", "v", {"text": "t-1"})
    assert one != identity.enriched_event_id("a", "v", {"text": "t-2"})


def test_fingerprint_ignores_key_order_and_sees_every_value():
    one = identity.fingerprint("text", "1", {"a": 1, "b": [2]})
    assert one == identity.fingerprint("text", "1", {"b": [2], "a": 1})
    assert one != identity.fingerprint("text", "1", {"b": [3], "a": 1})
    assert one.startswith("text-1-")


def test_batch_digest_knows_order_and_borders():
    assert identity.batch_digest(["a", "b"]) != identity.batch_digest(["b", "a"])
    assert identity.batch_digest(["ab"]) != identity.batch_digest(["a", "b"])
