"""The bill of materials names what is really there."""

import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_bill_of_materials_is_complete(tmp_path):
    """The command of `make sbom`, on this environment; without its validation, which takes 20 s."""
    output = tmp_path / "sbom.json"
    makefile = (ROOT / "Makefile").read_text()
    (recipe,) = re.findall(r"cyclonedx-py (environment .*?)\\\n", makefile)
    subprocess.run(
        [Path(sys.executable).with_name("cyclonedx-py"), *recipe.split(), "--no-validate", "-o",
         output, sys.executable],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    bill = json.loads(output.read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["licenses"][0]["license"]["id"] == "AGPL-3.0-or-later"
    found = {one["name"].lower().replace("_", "-"): one for one in bill["components"]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in project["dependencies"]:
        name = re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")
        assert found[name]["version"] == importlib.metadata.version(name)
        assert found[name]["purl"].startswith("pkg:pypi/")
