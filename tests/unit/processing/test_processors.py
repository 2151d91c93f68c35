"""The registry: parameters, fingerprints, and every made-up file ending as it must."""

import pytest

from media_pipeline.domain.outcome import Derivative, verdict
from media_pipeline.local_stack.sample_media import EVERY_KIND, generate
from media_pipeline.processing.processors import (
    PROCESSORS,
    params_from,
    process,
    processor_fingerprint,
)
from media_pipeline.settings import ProcessingSettings

STAGED = ("ocr", "moderation")
SETTINGS = ProcessingSettings().model_dump()


@pytest.mark.parametrize("kind", PROCESSORS)
def test_the_fingerprint_sees_every_parameter(kind):
    params = params_from(kind, SETTINGS)
    fingerprint = processor_fingerprint(kind, params)
    assert fingerprint == processor_fingerprint(kind, dict(reversed(params.items())))
    assert (processor_fingerprint(kind, params, {"dpi": 1}) != fingerprint) == (kind in STAGED)
    for name in params:
        changed = {**params, name: [7] if name == "sizes" else 7}
        assert processor_fingerprint(kind, changed) != fingerprint


def test_pods_with_a_gpu_make_nothing_stale(monkeypatch):
    """One release has two builds of torch; who compares fingerprints may have the other one."""
    params = params_from("moderation", SETTINGS)
    found = {}
    for version in ("2.13.0", "2.13.0+cpu", "2.13.0+cu130", "2.14.0+cpu"):
        monkeypatch.setattr(
            "media_pipeline.processing.processors.metadata.version", lambda _, v=version: v
        )
        found[version] = processor_fingerprint("moderation", params)
    assert len({*found.values()}) == 2
    assert found["2.14.0+cpu"] != found["2.13.0+cpu"] == found["2.13.0+cu130"] == found["2.13.0"]


def test_made_up_media_end_as_they_must():
    for sample in generate(EVERY_KIND, seed=3):
        rows = []
        for kind in ("text", "thumbnails"):
            result = process(kind, sample.data, sample.content_type, params_from(kind, SETTINGS))
            assert result.seconds >= 0
            rows.append(
                Derivative(
                    sample.asset_id,
                    "v",
                    1,
                    kind,
                    "f",
                    None,
                    0,
                    result.code,
                    result.message,
                    (),
                    {},
                    0.0,
                )
            )
        assert verdict(rows).status == sample.expected, sample.filename


def test_made_up_media_are_reproducible_and_distinct():
    first, second = (list(generate(EVERY_KIND, seed=5)) for _ in range(2))
    assert first == second
    assert len({one.asset_id for one in first}) == EVERY_KIND
    assert len({one.asset_id.rsplit("-", 1)[1] for one in first}) == EVERY_KIND, "one of each"
    assert next(generate(3, seed=6)).data != first[0].data
