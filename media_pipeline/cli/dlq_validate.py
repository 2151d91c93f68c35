"""`dlq validate`: which dead letters would pass now. Writes nothing but their state."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from media_pipeline.cli.dlq_options import (
    Assets,
    Codes,
    Fingerprints,
    FromFile,
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
from media_pipeline.cli.dlq_shown import say
from media_pipeline.domain.dead_letters import LetterAction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from media_pipeline.cli.dlq_processing import Trial
    from media_pipeline.cli.dlq_source import Opened
    from media_pipeline.domain.dead_letters import Letter, LetterFilter
    from media_pipeline.domain.media_asset import MediaAsset
    from media_pipeline.settings import Settings

_PAGE = 50
_LISTED = 200


def register(app: typer.Typer) -> None:
    """Add `validate` to the family."""
    app.command()(validate)


def validate(
    *,
    ids: Ids = None, ids_file: IdsFile = None, code: Codes = None, stage: Stages = None,
    asset: Assets = None, fingerprint: Fingerprints = None, since: Since = None,
    until: Until = None, state: States = None, source: SourceOption = Source.AUTO,
    from_file: FromFile = None, who: Who = None,
    process: Annotated[
        bool, typer.Option("--process", help="Run the processors as well, in the cage.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many letters.")] = 1000,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:  # fmt: skip
    """Say which letters would pass now: the contract, and with --process the processors.

    No object, row or event is written; letters that pass are marked as validated in the ledger
    when it answers. Exit code 1 when one would fail again.
    """
    from media_pipeline.cli.dlq_source import open_source  # quick --help

    wanted = letter_filter(ids, ids_file, code, stage, asset, fingerprint, since, until, state)
    opened = open_source(source.value, from_file)
    if wanted.ids is not None:
        opened.require_known(wanted.ids)
    name, host = operator(who)
    action = LetterAction(str(uuid.uuid4()), "validate", name, host, wanted.described())
    counts: Counter[str] = Counter()
    listed: list[dict[str, str]] = []
    marked = 0
    for page in _judged(opened, wanted, limit, process=process):
        passed = [letter for letter, verdict, _ in page if verdict == "pass"]
        if opened.ledger is not None and passed:
            marked += len(opened.ledger.act(action, passed))
        for letter, verdict, reason in page:
            counts[verdict] += 1
            if as_json or len(listed) < _LISTED:
                row = {"dlq_id": letter.dlq_id, "asset_id": letter.asset_id or ""}
                listed.append({**row, "verdict": verdict, "reason": reason})
    summary = ", ".join(f"{number} {verdict}" for verdict, number in sorted(counts.items()))
    if as_json:
        print(json.dumps({"counts": counts, "marked": marked, "letters": listed}))
    else:
        _print(listed, sum(counts.values()))
        print(f"{summary or 'no dead letters'}; {marked} marked as validated")
        if opened.ledger is None:
            print(f"nothing was marked: {opened.ledger_said}")
        if counts["untried"]:
            print("untried: the contract is met, the processors were not asked; add --process")
    opened.tell_foreign()
    if counts["fail"]:
        raise typer.Exit(1)


def _judged(
    opened: Opened, wanted: LetterFilter, limit: int, *, process: bool
) -> Iterator[list[tuple[Letter, str, str]]]:
    """Pages of (letter, pass | fail | untried | unknown, reason)."""
    from itertools import islice

    from media_pipeline.cli.dlq_processing import trial
    from media_pipeline.cli.dlq_source import in_pages

    settings = opened.world.settings
    with ExitStack() as running:
        attempt: Trial | None = None
        letters = islice(opened.source.letters(wanted, records=True), limit)
        for page in in_pages(letters, _PAGE):
            assets: dict[str, MediaAsset] = {}
            verdicts: dict[str, tuple[str, str]] = {}
            for letter in page:
                parsed = _contract(letter, settings)
                if isinstance(parsed, str):
                    verdicts[letter.dlq_id] = ("fail", parsed)
                elif process:
                    assets[letter.dlq_id] = parsed
                elif letter.stage == "contract":
                    verdicts[letter.dlq_id] = ("pass", "")
                else:
                    verdicts[letter.dlq_id] = ("untried", "")
            if assets:
                attempt = attempt or running.enter_context(
                    trial(settings, opened.world.object_store)
                )
                verdicts.update(attempt.of(assets))
            yield [(letter, *verdicts[letter.dlq_id]) for letter in page]


def _contract(letter: Letter, settings: Settings) -> MediaAsset | str:
    """The media asset that the original record announces, or why it is refused."""
    from media_pipeline.contracts.media_ingested import Rejected, parse_media_ingested

    assert letter.record is not None  # noqa: S101  # asked for with records
    parsed = parse_media_ingested(
        letter.record, allowed_buckets=settings.object_store.allowed_buckets
    )
    if isinstance(parsed, Rejected):
        return f"contract/{parsed.code}: {parsed.message}"
    return parsed


def _print(listed: list[dict[str, str]], total: int) -> None:
    console = Console()
    for row in listed:
        reason = f"\n        {row['reason']}" if row["reason"] else ""
        say(console, f"{row['verdict']:7} {row['dlq_id']} {row['asset_id']}{reason}")
    if total > len(listed):
        print(f"... and {total - len(listed)} more; --json lists all")
