"""Renders the chart with Helm itself, and reads what came out; shared by tests of deployment."""

from pathlib import Path

import helm_python as helm
import yaml

from media_pipeline.settings import Settings, settings_of

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "helm" / "media-pipeline"
DIGEST = "sha256:" + "ab" * 32
IMAGE = {"repository": "registry.invalid/media-pipeline", "digest": DIGEST}


def rendered_from(*files: Path, **more) -> list[dict]:
    """Manifests of the chart; later files go before earlier ones, `more` before all."""
    values: dict = {}
    for file in files:
        values = merged(values, yaml.safe_load(file.read_text()) or {})
    with helm.Chart.load(str(CHART)) as chart:
        texts = chart.render({**values, **more}, name="media", namespace="media")
    documents = [one for text in texts.values() for one in yaml.safe_load_all(text) if one]
    assert documents
    return documents


def merged(below: dict, above: dict) -> dict:
    """As Helm merges: mappings key by key, everything else as a whole."""
    both = dict(below)
    for key, value in above.items():
        known = both.get(key)
        deep = isinstance(value, dict) and isinstance(known, dict)
        both[key] = merged(known, value) if deep else value
    return both


def kinds(manifests, kind: str) -> dict[str, dict]:
    return {one["metadata"]["name"]: one for one in manifests if one["kind"] == kind}


def pod_specs(manifests) -> dict[str, dict]:
    return {
        f"{one['kind']}/{one['metadata']['name']}": one["spec"]["template"]["spec"]
        for one in manifests
        if one["kind"] in ("Deployment", "Job")
    }


def settings_in(manifests):
    """What a container with the chart's ConfigMap reads."""
    data = kinds(manifests, "ConfigMap")["media-pipeline-settings"]["data"]
    # A variable of dagster.yaml alone.
    return settings_of({name: value for name, value in data.items()
                        if name != "MEDIA_PIPELINE_NAMESPACE"})  # fmt: skip


def secret_fields() -> list[str]:
    """GROUP__FIELD of every setting that is a secret."""
    return [
        f"{group}__{name}".upper()
        for group, outer in Settings.model_fields.items()
        for name, field in getattr(outer.annotation, "model_fields", {}).items()
        if "SecretStr" in str(field.annotation)
    ]
