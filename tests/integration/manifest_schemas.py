"""What Kubernetes and its operators would say of a manifest; shared by tests of deployment."""

from functools import cache
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml

KUBERNETES = "1.30"
FIELDS = Path(__file__).with_name("crds") / "fields.yaml"


def require_valid(manifest: dict) -> None:
    """Raise for fields that the API does not know or would not take."""
    if is_custom(manifest):
        jsonschema.validate(manifest, custom_schemas()[name_of(manifest)])
    else:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def is_custom(manifest: dict) -> bool:
    """Of an operator: the groups of Kubernetes itself end with k8s.io, or have no dot."""
    if name_of(manifest) in custom_schemas():
        return True
    group = manifest["apiVersion"].rpartition("/")[0]
    return "." in group and not group.endswith(".k8s.io")


def name_of(manifest: dict) -> str:
    return f"{manifest['apiVersion']}/{manifest['kind']}"


@cache
def custom_schemas() -> dict[str, dict]:
    """By `group/version/kind`."""
    found = yaml.safe_load(FIELDS.read_text())
    del found["definitions"]
    for name, schema in found.items():
        version, _, kind = name.rpartition("/")
        schema["type"] = "object"
        schema["required"] = ["apiVersion", "kind", *schema["required"]]
        schema["properties"] |= {"apiVersion": {"const": version}, "kind": {"const": kind}}
        _close(schema)
    return found


def _close(schema: object) -> None:
    if isinstance(schema, dict):
        if "properties" in schema:
            schema["additionalProperties"] = False
        for one in schema.values():
            _close(one)
