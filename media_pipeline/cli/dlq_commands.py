"""`dlq list`, `show`, `export`, `discard`: look at dead letters, keep them, give them up."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from media_pipeline.cli import dlq_replay, dlq_validate
from media_pipeline.cli.dlq_options import (
    Assets,
    Codes,
    Fingerprints,
    Ids,
    IdsFile,
    Since,
    Source,
    SourceOption,
    Stages,
    States,
    Until,
    Who,
    letter_filter,
    operator,
)
from media_pipeline.cli.dlq_shown import print_groups, print_letter
from media_pipeline.domain.dead_letters import UNSETTLED, LetterAction, LetterFilter
from media_pipeline.errors import PermanentError

app = typer.Typer(
    name="dlq",
    help="Dead letters: list, show, export, validate, replay, discard. See"
    " deploy/runbooks/dead-letters.md.",
    no_args_is_help=True,
)


def register(root: typer.Typer) -> None:
    """Add the `dlq` family to the command line."""
    root.add_typer(app)


for _family in (dlq_validate, dlq_replay):
    _family.register(app)


@app.command(name="list")
def list_(
    *,
    ids: Ids = None, ids_file: IdsFile = None, code: Codes = None, stage: Stages = None,
    asset: Assets = None, fingerprint: Fingerprints = None, since: Since = None,
    until: Until = None, state: States = None, source: SourceOption = Source.AUTO,
    only_ids: Annotated[bool, typer.Option("--ids", help="One id per line, no table.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:  # fmt: skip
    """Group dead letters by cause: counts, first and last seen, sample ids."""
    from media_pipeline.cli.dlq_source import open_source  # quick --help
    from media_pipeline.dead_letters.grouping import grouped

    wanted = letter_filter(ids, ids_file, code, stage, asset, fingerprint, since, until, state)
    opened = open_source(source.value)
    if wanted.ids is not None:
        opened.require_known(wanted.ids)
    letters = opened.source.letters(wanted, records=False)
    if only_ids:
        for letter in letters:
            print(letter.dlq_id)
    else:
        groups = grouped(letters)
        if as_json:
            document = {"source": opened.source.name, "groups": [vars(one) for one in groups]}
            print(json.dumps(document))
        else:
            print_groups(Console(), groups)
    opened.tell_foreign()


@app.command()
def show(dlq_id: str, source: SourceOption = Source.AUTO) -> None:
    """Print one letter: reason, history, original record, and how its media asset stands."""
    from media_pipeline.cli.dlq_source import open_source  # quick --help

    opened = open_source(source.value)
    wanted = LetterFilter(ids=frozenset({dlq_id}))
    opened.require_known(frozenset({dlq_id}))
    (letter,) = opened.source.letters(wanted, records=True)
    ledger = opened.ledger
    history = ledger.history(dlq_id) if ledger else []
    rows = []
    if ledger and letter.asset_id and letter.content_version:
        rows = ledger.versions([(letter.asset_id, letter.content_version)])
    print_letter(Console(), letter, history, rows)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="Where to write.")],
    *,
    ids: Ids = None, ids_file: IdsFile = None, code: Codes = None, stage: Stages = None,
    asset: Assets = None, fingerprint: Fingerprints = None, since: Since = None,
    until: Until = None, state: States = None, source: SourceOption = Source.AUTO,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="A table for people, without the original bytes.")
    ] = False,
    as_parquet: Annotated[
        bool, typer.Option("--parquet", help="A table for analysis, with the original bytes.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:  # fmt: skip
    """Write letters with their original records as JSON Lines, all or nothing.

    `validate` and `replay` take the file back with --from-file. Nothing takes back the tables:
    --csv for a spreadsheet, --parquet for pandas and the like.
    """
    from media_pipeline.cli.dlq_file import Form, write_export  # quick --help
    from media_pipeline.cli.dlq_source import open_source

    if as_csv and as_parquet:
        raise typer.BadParameter("--csv or --parquet, not both")
    form = Form.CSV if as_csv else Form.PARQUET if as_parquet else Form.LINES
    if file.exists() and not force:
        raise PermanentError(
            f"{file} exists.", remedy="choose another name, or --force.", code="file_exists"
        )
    wanted = letter_filter(ids, ids_file, code, stage, asset, fingerprint, since, until, state)
    opened = open_source(source.value)
    if wanted.ids is not None:
        opened.require_known(wanted.ids)
    count = write_export(file, opened.source, wanted, form)
    print(f"{count} dead letters in {file}")
    opened.tell_foreign()


@app.command()
def discard(
    *,
    reason: Annotated[str, typer.Option(help="Why nobody will need them; kept in the history.")],
    ids: Ids = None, ids_file: IdsFile = None, code: Codes = None, stage: Stages = None,
    asset: Assets = None, fingerprint: Fingerprints = None, since: Since = None,
    until: Until = None, who: Who = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it: only say what.")] = False,
) -> None:  # fmt: skip
    """Give up letters that are open or validated; they stay readable, with your reason."""
    from media_pipeline.cli.dlq_source import in_pages, open_source  # quick --help

    if not reason.strip():
        raise typer.BadParameter("--reason must say something")
    wanted = letter_filter(ids, ids_file, code, stage, asset, fingerprint, since, until)
    if wanted == LetterFilter(states=UNSETTLED):
        raise typer.BadParameter("say which: --id, --ids-file, --code, --fingerprint, ...")
    opened = open_source("ledger")
    ledger = opened.required_ledger("discard")
    if wanted.ids is not None:
        opened.require_known(wanted.ids)
    name, host = operator(who)
    action = LetterAction(
        str(uuid.uuid4()), "discard", name, host, wanted.described(), reason.strip()
    )
    meant = moved = settled = 0
    for page in in_pages(opened.source.letters(wanted, records=False)):
        open_ones = [letter for letter in page if letter.state in UNSETTLED]
        meant += len(open_ones)
        settled += len(page) - len(open_ones)
        moved += len(ledger.act(action, open_ones)) if yes and open_ones else 0
    left = f"; {settled} are settled already and stay as they are" if settled else ""
    if yes:
        print(f"{moved} of {meant} dead letters are discarded{left}")
    else:
        print(f"{meant} dead letters would be discarded{left}; --yes does it")
