"""What can be said of the image without building it; tests/integration/test_image.py runs one."""

import json
import os
import re
import subprocess
import sys
import zipfile
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
    for variable in ("DAGSTER_DISABLE_TELEMETRY=1", "ORT_DISABLE_TELEMETRY=1"):
        assert variable in " ".join(FINAL.all("ENV")), "nobody outside is told anything"


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


def torch_installed(tmp_path, **arguments: str) -> list[str]:
    """What pip is asked to install first, as a build with these arguments asks."""
    (command,) = [one for one in STAGES["build"].all("RUN") if "VARIANT" in one]
    pip = tmp_path / "pip"
    pip.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    pip.chmod(0o755)
    given = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "VARIANT": ARGUMENTS["VARIANT"]}
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", command],
        env=given | arguments, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise ValueError(done.stderr)
    return done.stdout.splitlines()


@pytest.mark.parametrize(("variant", "build"), [("cpu", "cpu"), ("gpu", "cu130")])
def test_a_variant_is_one_build_of_the_pinned_torch_from_its_index(tmp_path, variant, build):
    words = torch_installed(tmp_path, VARIANT=variant)
    assert words[:3] == ["install", "--no-compile", "--constraint"]
    assert words[3] == "deploy/constraints.txt"
    assert words[-1] == f"{pinned('torch')}+{build}"
    # Beside pip's own index, from which comes what torch needs; no other has this build.
    assert words[4:-1] == ["--extra-index-url", f"https://download.pytorch.org/whl/{build}"]
    mirror = torch_installed(tmp_path, VARIANT=variant, TORCH_INDEX="https://mirror.invalid/x")
    assert mirror == [*words[:5], "https://mirror.invalid/x", words[-1]]


def test_the_variant_is_cpu_unless_asked_otherwise_and_stands_in_a_label(tmp_path):
    assert torch_installed(tmp_path)[-1].endswith("+cpu")
    with pytest.raises(ValueError, match="VARIANT is cpu or gpu, not 'cuda'"):
        torch_installed(tmp_path, VARIANT="cuda")
    assert "VARIANT" in FINAL.all("ARG")
    assert 'media-pipeline.variant="${VARIANT}"' in FINAL.all("LABEL")[0]


def test_pip_takes_the_build_asked_for_as_the_pinned_torch_and_keeps_it(tmp_path):
    """The real resolver, on wheels without content: no index can be asked here."""
    _, _, version = pinned("torch").partition("==")
    assert re.fullmatch(r"[\d.]+", version), "without a build, or two would be asked for"
    for one in (f"{version}+cpu", f"{version}+cu130", f"{version}+cu132", version):
        make_wheel(tmp_path, "torch", one)
    make_wheel(tmp_path, "media_pipeline", "1", f"torch (=={version})")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--isolated",
         "--no-index", "--find-links", str(tmp_path), "--quiet", "--report", "-", "--constraint",
         "deploy/constraints.txt", f"torch=={version}+cu130", "media-pipeline"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    chosen = {one["metadata"]["name"]: one["metadata"]["version"]
              for one in json.loads(done.stdout)["install"]}  # fmt: skip
    assert chosen == {"torch": f"{version}+cu130", "media_pipeline": "1"}


def make_wheel(folder: Path, name: str, version: str, *needs: str) -> None:
    info = f"{name}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {one}" for one in needs]
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", "\n".join(lines) + "\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


PAGES = [ROOT / "README.md", DOCKERFILE, *sorted((ROOT / "deploy" / "runbooks").glob("*.md"))]


def test_arguments_that_pages_give_to_a_build_exist():
    known = {one.partition("=")[0] for stage in STAGES.values() for one in stage.all("ARG")}
    given = [name for page in PAGES for name in re.findall(r"--build-arg (\w+)=", page.read_text())]
    assert {"VARIANT", "VERSION"} <= set(given) <= known | set(ARGUMENTS)


def pinned(package: str) -> str:
    """The line of constraints.txt."""
    text = (ROOT / "deploy" / "constraints.txt").read_text()
    (line,) = [one for one in text.splitlines() if one.startswith(f"{package}==")]
    return line


def test_versions_are_those_of_the_constraints():
    """torch is installed first, for the cache; the same file says which."""
    build = " ".join(STAGES["build"].all("RUN"))
    assert build.count("--constraint deploy/constraints.txt") == build.count("pip install") == 2
    # Not by PIP_NO_COMPILE: pip takes 1 there for yes, and compiles with times of files in it.
    assert build.count("--no-compile") == 2
    tool = re.search(r"cyclonedx-bom==[\d.]+", " ".join(STAGES["inventory"].all("RUN")))
    assert tool[0] == pinned("cyclonedx-bom")
