"""Conventions are tests: what a room may hold, import, read and call itself."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("media_pipeline", "sensors", "resources")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
#: Asked for by the layout; dot files and what .gitignore names are nobody's business.
TOP_LEVEL = {
    "media_pipeline", "sensors", "resources", "dagster_home", "deploy", "tests", "scripts",
    "benchmarks", "pyproject.toml", "README.md", "Makefile", "CHANGELOG.md", "LICENSE",
    "build", "dist",
}  # fmt: skip
#: Who may look at the environment: settings, and those who hand it to child processes.
ENVIRONMENT_READERS = {
    "media_pipeline/settings.py",
    "media_pipeline/local_stack/process.py",
    "media_pipeline/local_stack/stack.py",
    "media_pipeline/local_stack/postgrest_server.py",
    "media_pipeline/workers/worker.py",
}
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def test_import_directions():
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-logo"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_top_level_holds_what_was_asked_for():
    found = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert found - {"__pycache__"} <= TOP_LEVEL


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("media_pipeline.cli.main", ("dagster", "resources", "pydantic", "structlog", "requests")),
        ("media_pipeline.cli.world", ("dagster", "requests", "kafka", "minio", "hvac")),
    ],
)
def test_the_command_line_starts_without_dagster(module, unwanted):
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert not set(unwanted) & set(done.stdout.split())


def test_loading_the_definitions_imports_nothing_heavy():
    script = (
        "import sys, media_pipeline.definitions as d; d.build_defs();"
        "print([m for m in ('torch', 'pymupdf', 'PIL', 'pandas', 'kafka', 'minio', 'hvac')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_importing_reads_no_environment():
    script = (
        "import os\n"
        "class Watched(dict):\n"
        "    def get(self, key, default=None):\n"
        "        assert not str(key).startswith('MEDIA_PIPELINE_'), key\n"
        "        return dict.get(self, key, default)\n"
        "os.environ['MEDIA_PIPELINE_BATCH__MAX_KEYS'] = 'not a number'\n"
        "import media_pipeline.definitions\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], cwd=ROOT, check=True)


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_file_says_what_it_is_and_stays_readable(path):
    module = tree(path)
    assert ast.get_docstring(module), "no module docstring"
    assert len(path.read_text().splitlines()) <= MAX_FILE_LINES
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef):
            length = (node.end_lineno or 0) - node.lineno
            assert length <= MAX_FUNCTION_LINES, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_public_names_are_explained(path):
    for node in tree(path).body:
        public = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        if public and not (isinstance(node, ast.FunctionDef) and len(node.body) == 1):
            assert ast.get_docstring(node), f"{node.name} has no docstring"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_only_settings_read_the_environment(path):
    if name(path) in ENVIRONMENT_READERS:
        return
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute):
            assert node.attr not in ("environ", "getenv"), f"line {node.lineno}"


def test_nothing_is_left_for_later():
    words = ("TO" + "DO", "FIX" + "ME", "XX" + "X")
    for path in [*SOURCES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "deploy").rglob("*.sql")]:
        text = path.read_text()
        assert not [word for word in words if word in text], name(path)


def test_no_secret_passes_through_dagster_configuration():
    import warnings

    from media_pipeline.definitions import build_defs
    from media_pipeline.settings import ObjectStoreSettings, Settings, VaultSettings

    settings = Settings(
        object_store=ObjectStoreSettings(access_key="canary-1", secret_key="canary-2"),
        vault=VaultSettings(token="canary-3"),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        resources = build_defs(settings).resources
    for resource in resources.values():
        assert "canary" not in repr(resource)
