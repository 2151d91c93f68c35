from dataclasses import replace

from media_pipeline.dead_letters.replay_proof import picture, prove
from media_pipeline.domain.outcome import Code, Derivative, StoredArtifact

DIGEST = "d" * 64


def row(asset="a", code=Code.OK, digest=DIGEST, key="derived/1", version="v1", kind="text"):
    usable = code is Code.OK
    return Derivative(
        asset_id=asset, content_version=version, fence=1, kind=kind, fingerprint="text-1",
        input_digest="i" * 64 + asset if usable else None, input_bytes=3, code=code, message="",
        artifacts=(StoredArtifact("t.txt", "text/plain", key, digest, 3),) if usable else (),
        attributes={}, seconds=0.1,
    )  # fmt: skip


def proof_of(before, after, unfinished=()):
    versions = dict.fromkeys((one.asset_id, one.content_version) for one in [*before, *after])
    return prove(versions, picture(before), picture(after), unfinished=unfinished)


def test_every_way_to_end_is_told_apart():
    before = [row("was-dead", Code.INVALID), row("same"), row("other"), row("again", Code.EMPTY)]
    after = [
        row("was-dead"), row("same"), row("other", digest="e" * 64), row("again", Code.EMPTY),
        row("fresh"), row("busy"),
    ]  # fmt: skip
    proof = proof_of(before, after, unfinished=[("busy", "v1")])
    assert proof.counts() == {
        "new": 2, "identical": 1, "changed": 1, "dead_lettered": 1, "unfinished": 1,
        "duplicates": 0,
    }  # fmt: skip
    assert proof.new == (("was-dead", "v1"), ("fresh", "v1"))
    assert proof.holds
    assert "1 dead-lettered again" in proof.summary()
    assert "0 duplicate objects, 0 duplicate rows" in proof.summary()


def test_a_version_without_rows_has_not_ended():
    assert prove([("gone", "v1")], picture([]), picture([])).unfinished == (("gone", "v1"),)


def test_media_that_need_nothing_are_enriched():
    calm = row("a", Code.NOT_APPLICABLE)
    assert proof_of([calm], [calm]).identical == (("a", "v1"),)


def test_another_run_and_another_place_in_the_page_change_nothing():
    before = [row("a"), row("b")]
    after = [replace(row("b"), fence=7, seconds=9.0), replace(row("a"), fence=8)]
    assert proof_of(before, after).counts()["identical"] == 2


def test_the_same_content_under_two_keys_is_a_duplicate():
    proof = proof_of([row(key="derived/1")], [row(key="derived/2")])
    assert not proof.holds
    assert "a v1: text is stored under two object keys" in proof.duplicates
    assert "1 DUPLICATES" in proof.summary()


def test_two_media_assets_with_the_same_bytes_share_one_object():
    one, other = row("a"), replace(row("a", key="derived/elsewhere"), asset_id="b")
    assert proof_of([], [one, replace(other, artifacts=one.artifacts)]).holds
    assert not proof_of([], [one, other]).holds


def test_a_row_twice_and_a_row_gone_are_found():
    assert not proof_of([row()], [row(), row()]).holds
    lost = proof_of([row(), row(kind="ocr")], [row()])
    assert lost.duplicates == ("a v1: rows of ocr are gone",)


def test_another_processor_may_store_elsewhere():
    newer = replace(row(key="derived/2", digest="e" * 64), fingerprint="text-2")
    proof = proof_of([row()], [newer])
    assert (proof.changed, proof.holds) == ((("a", "v1"),), True)
