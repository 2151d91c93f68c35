"""What can be said of the image without building it; tests/integration/test_image.py runs one."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"


@dataclass
class Stage:
    base: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def all(self, instruction: str) -> list[str]:
        return [said for what, said in self.steps if what == instruction]


def stages_of(text: str) -> tuple[dict[str, str], dict[str, Stage]]:
    """Arguments before the first stage, and stages by name in their order."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE))
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    for line in filter(None, map(str.strip, joined.splitlines())):
        what, _, said = line.partition(" ")
        if what == "FROM":
            base, _, name = said.partition(" AS ")
            stages[name] = Stage(base, name)
        elif stages:
            list(stages.values())[-1].steps.append((what, said.strip()))
        else:
            assert what == "ARG", line
            name, _, value = said.partition("=")
            arguments[name] = value
    return arguments, stages


ARGUMENTS, STAGES = stages_of(DOCKERFILE.read_text())
FINAL = list(STAGES.values())[-1]


def test_every_stage_begins_with_the_one_base_by_digest_or_with_nothing():
    assert re.fullmatch(
        r"python:3\.11\.\d+-slim-\w+@sha256:[0-9a-f]{64}", ARGUMENTS["PYTHON_IMAGE"]
    )
    assert {one.base for one in STAGES.values()} == {"${PYTHON_IMAGE}", "scratch"}
    assert FINAL.base == "${PYTHON_IMAGE}"


def test_the_last_stage_gets_the_environment_and_no_source():
    assert FINAL.all("COPY") == ["--from=build /opt/venv /opt/venv"]
    assert not FINAL.all("ADD")
    for command in FINAL.all("RUN"):
        assert not re.search(r"\b(pip|apt-get|curl|wget|git)\b", command), command


def test_it_runs_as_nobody_in_particular_in_a_folder_without_code():
    (user,) = FINAL.all("USER")
    assert user == "10001:10001", "a number: Kubernetes can see that it is not root"
    after = [what for what, _ in FINAL.steps[FINAL.steps.index(("USER", user)) + 1 :]]
    assert set(after) <= {"ARG", "LABEL", "CMD"}
    assert FINAL.all("WORKDIR") == ["/opt/dagster/dagster_home"]
    for variable in ("PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1"):
        assert variable in " ".join(FINAL.all("ENV")), "the root file system is read-only"


def test_who_made_it_of_what_stands_in_its_labels():
    (labels,) = FINAL.all("LABEL")
    found = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', labels))
    assert found["licenses"] == "AGPL-3.0-or-later"
    assert (found["version"], found["revision"]) == ("${VERSION}", "${REVISION}")
    assert {"title", "description"} < set(found)
    assert {"VERSION", "REVISION"} <= {one.partition("=")[0] for one in FINAL.all("ARG")}


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_no_stage_has_a_secret_or_a_default_to_fetch_from(stage):
    for said in [*stage.all("ARG"), *stage.all("ENV")]:
        assert not re.search(r"(?i)token|password|secret|_key", said), said
        assert "http" not in said, said


def test_versions_are_those_of_the_constraints():
    """torch is installed first, for the cache; the same file says which."""
    build = " ".join(STAGES["build"].all("RUN"))
    assert "--constraint deploy/constraints.txt" in build
    assert "grep '^torch==' deploy/constraints.txt" in build
    tool = re.search(r"cyclonedx-bom==([\d.]+)", " ".join(STAGES["inventory"].all("RUN")))
    pinned = re.search(
        r"^cyclonedx-bom==([\d.]+)", (ROOT / "deploy/constraints.txt").read_text(), re.MULTILINE
    )
    assert tool[1] == pinned[1]
