"""`dlq replay`: send the original messages again through the normal intake."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

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
    Until,
    Who,
    letter_filter,
    operator,
)
from media_pipeline.cli.dlq_shown import printable
from media_pipeline.dead_letters.replay_plan import REMEDIES, ReplayRules, chosen
from media_pipeline.domain.dead_letters import UNSETTLED, LetterAction
from media_pipeline.domain.recovery import means_pause
from media_pipeline.errors import MediaPipelineError, SystemicError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from media_pipeline.cli.dlq_source import Opened
    from media_pipeline.cli.dlq_watch import Watch
    from media_pipeline.dead_letters.replay_proof import ReplayProof
    from media_pipeline.domain.dead_letters import Letter, LetterFilter

_SAMPLES = 10
_INTERRUPTED = 130


@dataclass
class Plan:
    """What would be sent and what is left, counted; letters themselves are not kept."""

    send: int = 0
    causes: Counter[tuple[str, str]] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    samples: list[str] = field(default_factory=list)


def register(app: typer.Typer) -> None:
    """Add `replay` to the family."""
    app.command()(replay)


def replay(
    *,
    ids: Ids = None, ids_file: IdsFile = None, code: Codes = None, stage: Stages = None,
    asset: Assets = None, fingerprint: Fingerprints = None, since: Since = None,
    until: Until = None, source: SourceOption = Source.AUTO, from_file: FromFile = None,
    who: Who = None,
    yes: Annotated[bool, typer.Option("--yes", help="Send; without it: only say what.")] = False,
    rate: Annotated[float, typer.Option(min=0.01, help="Messages per second.")] = 10.0,
    max_: Annotated[int | None, typer.Option("--max", min=1, help="At most so many.")] = None,
    beyond_guard: Annotated[
        bool, typer.Option("--beyond-guard", help="Also what failed after three replays.")
    ] = False,
    superseded: Annotated[
        bool, typer.Option("--superseded", help="Also versions that a newer one has replaced.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Also letters that are replayed or discarded.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Until each has ended; then prove what was done.")
    ] = False,
    wait_seconds: Annotated[float, typer.Option(min=1, help="Patience of --wait.")] = 600.0,
    journal: Annotated[
        Path | None, typer.Option(dir_okay=False, help="File of ids sent; needed with no ledger.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:  # fmt: skip
    """Send dead letters again: same key, bytes and headers, plus replay.id and replay.count.

    Ctrl-C ends after the portion under way; the same command goes on where it ended. Exit code
    1: --wait found duplicates, or not all have ended; 130: interrupted.
    """
    from media_pipeline.cli.dlq_sender import Journal  # quick --help
    from media_pipeline.cli.dlq_source import open_source

    wanted = letter_filter(
        ids, ids_file, code, stage, asset, fingerprint, since, until,
        default_states=() if again else UNSETTLED,
    )  # fmt: skip
    opened = open_source(source.value, from_file)
    if wanted.ids is not None:
        opened.require_known(wanted.ids)
    rules = ReplayRules(beyond_guard=beyond_guard, superseded=superseded, again=again)
    name, host = operator(who)
    job = ReplayJob(
        opened, wanted, rules, max_, Journal(journal),
        LetterAction(str(uuid.uuid4()), "replay", name, host, wanted.described()),
    )  # fmt: skip
    plan = job.plan()
    if not as_json:
        job.print_plan(plan)
    if not yes or not plan.send:
        if as_json:
            print(json.dumps({"yes": False, **_planned(plan)}))
        elif plan.send:
            print("Nothing was sent: this is a dry run. --yes sends.")
        return
    _require_memory(opened, journal, wait=wait)
    raise typer.Exit(job.run(rate=rate, wait_seconds=wait_seconds if wait else None, json_=as_json))


def _require_memory(opened: Opened, journal: Path | None, *, wait: bool) -> None:
    """Nothing is sent unless the ledger or a journal remembers what was."""
    if wait:
        opened.required_ledger("--wait")
    if opened.ledger is None and journal is None:
        raise SystemicError(
            f"{opened.ledger_said}: nothing would remember what was sent.",
            remedy="name a file with --journal; the same command with the same file goes on"
            " where it ended. Make sure that nobody else replays: without the ledger there is"
            " no lock.",
            code="journal_needed",
        )


def _planned(plan: Plan) -> dict[str, Any]:
    return {"would_send": plan.send, "left": dict(plan.left)}


@dataclass
class ReplayJob:
    """One replay: the same letters are chosen for the plan and for the sending."""

    opened: Opened
    wanted: LetterFilter
    rules: ReplayRules
    most: int | None
    journal: Any
    action: LetterAction

    def plan(self) -> Plan:
        """Read all that is meant and count."""
        plan = Plan()
        letters = self.opened.source.letters(self.wanted, records=False)
        for letter, reason in chosen(letters, self.rules, self.journal.done):
            full = self.most is not None and plan.send >= self.most
            if reason is not None or full:
                plan.left[reason or "beyond --max"] += 1
                continue
            plan.send += 1
            plan.causes[letter.stage, letter.code] += 1
            if len(plan.samples) < _SAMPLES:
                plan.samples.append(letter.dlq_id)
        return plan

    def print_plan(self, plan: Plan) -> None:
        """What goes, what is left and why, and whether it will have to wait."""
        console = Console()
        table = Table(title=f"{plan.send} messages to send")
        for column in ("stage", "code", "messages"):
            table.add_column(column)
        for (stage, code), number in plan.causes.most_common():
            table.add_row(Text(printable(stage)), Text(printable(code)), str(number))
        if plan.send:
            console.print(table)
            print("first of them: " + ", ".join(plan.samples))
        else:
            print("no message to send")
        for reason, number in plan.left.most_common():
            print(f"left: {number} {reason}. {REMEDIES.get(reason, '')}".rstrip())
        pause = self.opened.ledger.pause() if self.opened.ledger else None
        if pause is not None and means_pause(pause.value):
            print(
                f"The intake is paused since {pause.at} by {pause.who} ({pause.reason}):"
                " messages will wait in the topic until it is resumed."
            )
        if self.opened.ledger is None:
            print(f"{self.opened.ledger_said}: states are unknown, and there is no lock.")
        self.opened.tell_foreign()

    def run(self, *, rate: float, wait_seconds: float | None, json_: bool) -> int:
        """Send, wait, prove, say it; answers the exit code."""
        from media_pipeline.cli.dlq_sender import ReplayLease, Sender, stop_on_interrupt
        from media_pipeline.cli.dlq_watch import Watch

        opened, settings = self.opened, self.opened.world.settings
        buckets = settings.object_store.allowed_buckets
        watch: Watch | None = None
        if wait_seconds is not None:
            ledger = opened.required_ledger("--wait")
            watch = Watch(ledger, self.action.action_id, buckets)
        with ExitStack() as held:
            stop = held.enter_context(stop_on_interrupt())
            sender = Sender(
                opened.world.event_sink, settings.kafka.ingested_topic, opened.ledger,
                self.action, rate, self.journal, stop,
            )  # fmt: skip
            if opened.ledger is not None:
                lease = ReplayLease(opened.ledger, self.action.who, self.action.host, sender.clock)
                sender.lease = held.enter_context(lease)
            if watch is not None:
                sender.before_each = watch.note
            try:
                complete = sender.send(self._letters())
            except MediaPipelineError as error:
                raise _partly(error, len(sender.sent)) from error
        proof, refused = None, 0
        if watch is not None and wait_seconds is not None and complete:
            with stop_on_interrupt() as stop:
                proof, refused = watch.wait(wait_seconds, stop.wait)
        return self._tell(len(sender.sent), complete, proof, refused, watch, json_=json_)

    def _letters(self) -> Iterator[Letter]:
        letters: Iterable[Letter] = self.opened.source.letters(self.wanted, records=True)
        going = (
            letter
            for letter, reason in chosen(letters, self.rules, self.journal.done)
            if reason is None
        )
        return islice(going, self.most)

    def _tell(
        self, sent: int, complete: bool, proof: ReplayProof | None, refused: int,
        watch: Watch | None, *, json_: bool,
    ) -> int:  # fmt: skip
        expected = watch.refusals_expected if watch else 0
        ended = proof is None or (not proof.unfinished and refused >= expected)
        if json_:
            counts = proof.counts() if proof else None
            document = {
                "yes": True, "replay_id": self.action.action_id, "sent": sent,
                "complete": complete, "proof": counts, "refused_by_contract_again": refused,
            }  # fmt: skip
            print(json.dumps(document))
        else:
            print(f"sent {sent} as replay {self.action.action_id}")
            if proof is not None:
                print(proof.summary())
            if expected:
                print(f"{refused} of {expected} that the contract refuses are dead letters again")
            if not complete:
                print("interrupted: the same command sends the rest")
            if proof is not None and not ended:
                print("not all have ended: does the pipeline run, is it paused?")
        if not complete:
            return _INTERRUPTED
        return 0 if proof is None or (proof.holds and ended) else 1


def _partly(error: MediaPipelineError, sent: int) -> MediaPipelineError:
    """The same error, saying how far it came."""
    return type(error)(
        f"{error.message} {sent} messages were sent before this; of the portion that failed some"
        " may be out.",
        remedy=f"{error.remedy} Then the same command again: what was sent is recognised.",
        code=error.code,
    )
