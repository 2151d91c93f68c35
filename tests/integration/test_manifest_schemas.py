"""Objects of operators have fields that their definitions know, or do not pass."""

import copy
import re

import jsonschema
import pytest
import yaml

from tests.integration.chart import ROOT, kinds
from tests.integration.manifest_schemas import (
    custom_schemas,
    is_custom,
    name_of,
    require_valid,
)
from tests.integration.test_manifests import chart_of

GITOPS = ROOT / "deploy" / "gitops"
#: Their keys are names that somebody chooses.
FREE = ("labels", "annotations", "matchLabels", "triggers/0/metadata")


PLACES = (
    *(str(path.relative_to(GITOPS)) for tool in ("argocd", "flux")
      for path in sorted((GITOPS / tool).glob("*.yaml"))),
    "chart/ServiceMonitor", "chart/PrometheusRule", "chart/ScaledObject", "kind/up.sh",
)  # fmt: skip
each = pytest.mark.parametrize("where", PLACES)


def found(where: str) -> dict:
    folder, _, name = where.partition("/")
    if folder == "kind":
        script = (ROOT / "deploy" / where).read_text()
        (config,) = re.findall(r"--config - <<EOF\n(.*?)^EOF$", script, re.DOTALL | re.MULTILINE)
        return yaml.safe_load(config)
    if folder != "chart":
        return yaml.safe_load((GITOPS / where).read_text())
    (one,) = kinds(chart_of("values.yaml", True), name).values()
    return one


@each
def test_it_is_what_its_definition_allows(where):
    require_valid(found(where))


def test_each_kind_is_there_and_no_schema_is_left_over():
    rendered = [one for one in chart_of("values.yaml", True) if is_custom(one)]
    everything = [*map(found, PLACES), *rendered]
    assert {name_of(one) for one in everything} == set(custom_schemas())


def places(value: object, path: tuple = ()):
    """Every (path to a mapping, key) below `value` whose key a definition decides."""
    if isinstance(value, dict):
        free = "/".join(map(str, path)).endswith(FREE)
        for key, one in value.items():
            if not free:
                yield path, key
            yield from places(one, (*path, key))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from places(one, (*path, number))


def mapping_at(document: dict, path: tuple) -> dict:
    for step in path:
        document = document[step]
    return document


@each
def test_no_field_may_be_misspelt(where):
    document = found(where)
    tried = list(places(document))
    for path, key in tried:
        broken = copy.deepcopy(document)
        inner = mapping_at(broken, path)
        inner[f"{key}x"] = inner.pop(key)
        if key in ("apiVersion", "kind") and not path:
            continue  # then it is no longer known what it is
        with pytest.raises(jsonschema.ValidationError):
            require_valid(broken)
    assert len(tried) > 2


@each
def test_no_value_may_be_of_another_type(where):
    document = found(where)
    for path, key in places(document):
        if key in ("apiVersion", "kind") and not path:
            continue
        broken = copy.deepcopy(document)
        inner = mapping_at(broken, path)
        inner[key] = 7.5 if not isinstance(inner[key], float) else "text"
        with pytest.raises(jsonschema.ValidationError):
            require_valid(broken)


def test_a_kind_that_nobody_described_is_refused():
    with pytest.raises(KeyError, match="PodMonitor"):
        require_valid({"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor"})
