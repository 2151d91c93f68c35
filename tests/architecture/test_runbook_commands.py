"""Every command and option that a runbook names exists."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from media_pipeline.cli.main import app
from media_pipeline.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
RUNBOOKS = sorted((ROOT / "deploy" / "runbooks").glob("*.md"))
BLOCK = re.compile(r"```bash\n(.*?)```", re.DOTALL)
INLINE = re.compile(r"`(media-pipeline [^`]+)`")
ASSIGNMENT = re.compile(r'([A-Z]+)="(.*)"')
VARIABLE = re.compile(r"MEDIA_PIPELINE_([A-Z0-9_]+)")


def commands_of(path: Path) -> list[str]:
    """Every `media-pipeline ...` of a page: long lines joined, variables filled in."""
    text = path.read_text()
    variables: dict[str, str] = {}
    commands: list[str] = []
    for block in BLOCK.findall(text):
        for line in map(str.strip, block.replace("\\\n", " ").splitlines()):
            if assignment := ASSIGNMENT.fullmatch(line):
                variables[assignment[1]] = assignment[2]
            elif line.startswith("media-pipeline "):
                commands.append(line)
    commands += [line for line in INLINE.findall(text) if "..." not in line]
    return [re.sub(r"\$([A-Z]+)", lambda found: variables[found[1]], line) for line in commands]


CASES = [(path, line) for path in RUNBOOKS for line in commands_of(path)]


@pytest.mark.parametrize(
    ("path", "line"), CASES, ids=[f"{path.stem}: {line[:60]}" for path, line in CASES]
)
def test_a_command_and_its_options_exist(path, line):
    command = typer.main.get_command(app)
    words = shlex.split(line, comments=True)[1:]
    while words and hasattr(command, "commands"):
        name = words.pop(0)
        assert name in command.commands, f"{path.name}: no command {name!r} in {line!r}"
        command = command.commands[name]
    known = {
        one for parameter in command.params for one in parameter.opts + parameter.secondary_opts
    }
    options = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert options <= known, f"{path.name}: {line!r}"


def test_a_complete_command_line_is_parsed_as_it_stands(tmp_path, monkeypatch):
    """The commands lack nothing that is required, and every value is of its type."""
    monkeypatch.chdir(tmp_path)
    for path in RUNBOOKS:
        for line in commands_of(path):
            if line.endswith("show"):
                continue  # named in a sentence, not given in full
            command = typer.main.get_command(app)
            words = shlex.split(line, comments=True)[1:]
            for word in words:
                if re.fullmatch(r"(\./)?[\w-]+\.(jsonl|onnx|txt)", word):
                    (tmp_path / word).touch()  # the file that an earlier step made
            while words and hasattr(command, "commands"):
                command = command.commands[words.pop(0)]
            if not hasattr(command, "commands"):
                command.make_context(line, words)


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_settings_that_a_runbook_names_exist(path):
    for name in VARIABLE.findall(path.read_text()):
        group, _, field = name.lower().partition("__")
        assert group in Settings.model_fields, name
        if field:
            assert field in Settings.model_fields[group].annotation.model_fields, name
