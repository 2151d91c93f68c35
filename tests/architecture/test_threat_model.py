"""What the threat model claims is proven by tests that exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "deploy" / "runbooks" / "threat-model.md").read_text()
REFERENCES = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)))
ROWS = [line for line in PAGE.splitlines() if re.match(r"\| [UPCNLS] \|", line)]


@pytest.mark.parametrize(("path", "test"), REFERENCES)
def test_a_named_test_exists(path, test):
    tree = ast.parse((ROOT / path).read_text())
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert test in names


def test_each_line_is_proven_and_each_attacker_met():
    assert len(ROWS) >= 20
    unproven = [line for line in ROWS if not re.search(r"`tests/[\w/]+\.py::\w+`", line)]
    assert not unproven
    assert {line[2] for line in ROWS} == set("UPCNLS")


def test_nothing_makes_addresses_that_open_without_a_login():
    for folder in ("media_pipeline", "resources", "sensors"):
        for path in (ROOT / folder).rglob("*.py"):
            assert not re.search(r"presigned_|presign\(", path.read_text()), path
