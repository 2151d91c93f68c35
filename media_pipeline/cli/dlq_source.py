"""Where the command line reads dead letters from: the ledger, the topic alone, or an export.

The ledger knows states and history; the topic works without it. Every source hands out letters
one by one: memory holds a page of records, however many letters there are.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeVar

from media_pipeline.cli.world import World
from media_pipeline.contracts.dead_letter import (
    DeadLetter,
    letter_of,
    payload_pointer,
    read_dead_letter,
    require_payload,
)
from media_pipeline.dead_letters.export_lines import read_lines
from media_pipeline.dead_letters.grouping import error_fingerprint
from media_pipeline.domain.dead_letters import DeadLetterStore, Letter, LetterFilter
from media_pipeline.domain.media_asset import MessageRecord
from media_pipeline.domain.ports import EventSource, ObjectStore
from media_pipeline.errors import (
    MediaPipelineError,
    PermanentError,
    SystemicError,
    TransientError,
)
from media_pipeline.settings import load_settings

Item = TypeVar("Item")
_SUMMARIES = 1000
_RECORDS = 50
_POLL_SECONDS = 10.0


class LetterSource(Protocol):
    """Letters from somewhere; `why` says why from there."""

    name: str
    why: str

    def letters(self, wanted: LetterFilter, *, records: bool) -> Iterator[Letter]:
        """Letters that are meant, with their original records if asked for."""
        ...


def meant(letter: Letter, wanted: LetterFilter) -> bool:
    """Whether every part of the filter, the fingerprint included, fits."""
    if wanted.fingerprints and error_fingerprint(letter) not in wanted.fingerprints:
        return False
    return wanted.matches(letter)


class LedgerSource:
    """The ledger's rows."""

    name = "ledger"

    def __init__(self, store: DeadLetterStore, why: str) -> None:
        self._store = store
        self.why = why

    def letters(self, wanted: LetterFilter, *, records: bool) -> Iterator[Letter]:
        """In the order of the original records; ids are asked for in portions."""
        for part in _by_ids(wanted):
            after = None
            while page := self._store.letters(part, after, _SUMMARIES):
                after = page[-1].dlq_id
                found = [letter for letter in page if meant(letter, wanted)]
                yield from self._with_records(found) if records else found
                if len(page) < _SUMMARIES:
                    break

    def _with_records(self, letters: list[Letter]) -> Iterator[Letter]:
        for start in range(0, len(letters), _RECORDS):
            page = letters[start : start + _RECORDS]
            records = self._store.records([letter.dlq_id for letter in page])
            for letter in page:
                yield replace(letter, record=records[letter.dlq_id])


class TopicSource:
    """`media.processing.dlq`; of a letter told more than once the newest record counts.

    The topic knows no states: where there is a ledger, they are the ledger's.
    """

    name = "topic"

    def __init__(
        self,
        events: EventSource,
        objects: ObjectStore,
        topic: str,
        why: str,
        ledger: DeadLetterStore | None = None,
    ) -> None:
        self._ledger = ledger
        self._events = events
        self._objects = objects
        self._topic = topic
        self.why = why
        #: Records that are no dead letters: told to the operator, never passed over in silence.
        self.foreign: list[str] = []

    def letters(self, wanted: LetterFilter, *, records: bool) -> Iterator[Letter]:
        """In the order of the topic, which is read twice: once to find the newest records."""
        newest: dict[str, tuple[int, int]] = {}
        self.foreign = []
        for record, letter, _ in self._dead_letters(note_foreign=True):
            newest[letter.dlq_id] = (record.partition, record.offset)
        current = (
            (letter, dead)
            for record, letter, dead in self._dead_letters(note_foreign=False)
            if newest.get(letter.dlq_id) == (record.partition, record.offset)
        )
        for page in in_pages(current):
            for letter, (_, dead) in zip(
                self._today([letter for letter, _ in page]), page, strict=True
            ):
                if meant(letter, wanted):
                    yield replace(letter, record=self._original(dead) if records else None)

    def _today(self, page: list[Letter]) -> list[Letter]:
        """What the ledger says of these, where there is one and it knows them."""
        if self._ledger is None:
            return page
        known = LetterFilter(ids=frozenset(letter.dlq_id for letter in page))
        found = {one.dlq_id: one for one in self._ledger.letters(known, None, len(page))}
        return [found.get(letter.dlq_id, letter) for letter in page]

    def _dead_letters(
        self, *, note_foreign: bool
    ) -> Iterator[tuple[MessageRecord, Letter, DeadLetter]]:
        for record in read_to_end(self._events, self._topic):
            try:
                dead = read_dead_letter(record)
                letter = letter_of(dead)
            except ValueError as error:
                if note_foreign:
                    self.foreign.append(str(error))
            else:
                yield record, letter, dead

    def _original(self, dead: DeadLetter) -> MessageRecord:
        pointer = payload_pointer(dead)
        if pointer is None:
            return dead.original
        try:
            value = require_payload(pointer, self._objects.get(pointer.object_key))
        except ValueError as error:
            raise PermanentError(
                f"{dead.headers['dlq.id']}: {error}.",
                remedy="read it from the ledger (--source ledger): its row has the bytes as well.",
                code="payload_changed",
            ) from error
        return replace(dead.original, value=value)


class FileSource:
    """An export. It is read to its end once before the first letter is handed out."""

    name = "file"

    def __init__(self, path: Path) -> None:
        self._path = path
        self.why = str(path)
        for _ in self._read():
            pass

    def letters(self, wanted: LetterFilter, *, records: bool) -> Iterator[Letter]:
        """In the order of the file; states are those of the moment of the export."""
        for letter in self._read():
            if meant(letter, wanted):
                yield letter if records else replace(letter, record=None)

    def _read(self) -> Iterator[Letter]:
        with self._path.open("rb") as file:
            yield from read_lines(file, str(self._path))


class ReconciledSource:
    """An export beside the ledger: states are today's, and the records must be the same."""

    name = "file"

    def __init__(self, file: FileSource, ledger: DeadLetterStore) -> None:
        self._file = file
        self._ledger = ledger
        self.why = f"{file.why}, states from the ledger"

    def letters(self, wanted: LetterFilter, *, records: bool) -> Iterator[Letter]:
        """PermanentError for letters that the ledger does not know or knows with other bytes."""
        page: list[Letter] = []
        for letter in self._file.letters(replace(wanted, states=()), records=True):
            page.append(letter)
            if len(page) == _RECORDS:
                yield from self._today(page, wanted, records=records)
                page = []
        yield from self._today(page, wanted, records=records)

    def _today(
        self, page: list[Letter], wanted: LetterFilter, *, records: bool
    ) -> Iterator[Letter]:
        ids = [letter.dlq_id for letter in page]
        filter_ = LetterFilter(ids=frozenset(ids))
        current = {one.dlq_id: one for one in self._ledger.letters(filter_, None, len(ids) + 1)}
        missing = [one for one in ids if one not in current]
        if missing:
            raise unknown(missing, len(ids), "ledger")
        originals = self._ledger.records(ids)
        for letter in page:
            if originals[letter.dlq_id] != letter.record:
                raise PermanentError(
                    f"{self._file.why}: the record of {letter.dlq_id} is not the one in the"
                    " ledger. Nothing was done.",
                    remedy="export again; a changed message is a new message: produce it.",
                    code="export_refused",
                )
            today = current[letter.dlq_id]
            if meant(today, wanted):
                yield replace(today, record=letter.record) if records else today


def read_to_end(events: EventSource, topic: str) -> Iterator[MessageRecord]:
    """Every record that was there when reading began; TransientError when the end is not met."""
    positions: Mapping[int, int] = {}
    while True:
        poll = events.poll(topic, positions, max_records=_SUMMARIES, deadline_seconds=_POLL_SECONDS)
        yield from poll.records
        positions = poll.positions
        if not poll.lag:
            return
        if not poll.records:
            raise TransientError(
                f"{topic} could not be read to its end: {poll.lag} records are missing.",
                remedy="check the brokers and try again.",
                code="event_log_unavailable",
            )


@dataclass(frozen=True)
class Opened:
    """Where letters come from, and the ledger where it answers."""

    world: World
    ledger: DeadLetterStore | None
    ledger_said: str
    source: LetterSource

    def required_ledger(self, doing: str) -> DeadLetterStore:
        """The ledger; SystemicError saying that `doing` needs it."""
        if self.ledger is None:
            raise SystemicError(
                f"{doing} needs the ledger, and {self.ledger_said}.",
                remedy="mend the ledger (`media-pipeline status`) and try again.",
                code="ledger_unavailable",
            )
        return self.ledger

    def require_known(self, ids: frozenset[str]) -> None:
        """PermanentError naming every id that the source does not have; nothing is done then."""
        asked = self.source.letters(LetterFilter(ids=ids), records=False)
        missing = sorted(ids - {letter.dlq_id for letter in asked})
        if missing:
            self.tell_foreign()
            raise unknown(missing, len(ids), self.source.name)

    def tell_foreign(self) -> None:
        """Say which records of the topic are no dead letters, if any."""
        foreign = self.source.foreign if isinstance(self.source, TopicSource) else []
        if foreign:
            said = "; ".join(foreign[:3])
            print(f"{len(foreign)} records of the topic are passed over: {said}", file=sys.stderr)


def open_source(source: str, from_file: Path | None = None) -> Opened:
    """The source asked for, told on stderr; `auto`: the ledger, or the topic when it is away."""
    world = World(load_settings())
    ledger: DeadLetterStore | None = None
    try:
        world.dead_letter_store.pause()
        ledger, said = world.dead_letter_store, "the ledger answers"
    except (TransientError, SystemicError) as error:
        said = f"the ledger cannot be used ({error.message.rstrip('.')})"
    found: LetterSource
    if from_file is not None:
        file = FileSource(from_file)
        found = file if ledger is None else ReconciledSource(file, ledger)
    elif source == "topic" or (source == "auto" and ledger is None):
        why = "asked for" if source == "topic" else said
        topic = world.settings.kafka.dead_letter_topic
        found = TopicSource(world.event_source, world.object_store, topic, why, ledger)
    else:
        if ledger is None:
            raise SystemicError(
                f"{said}.",
                remedy="mend it, or read the topic alone with --source topic.",
                code="ledger_unavailable",
            )
        found = LedgerSource(ledger, "asked for" if source == "ledger" else said)
    print(f"source: {found.name} ({found.why})", file=sys.stderr)
    return Opened(world, ledger, said, found)


def in_pages(items: Iterable[Item], size: int = _RECORDS) -> Iterator[list[Item]]:
    """Portions of at most `size`."""
    remaining = iter(items)
    while page := list(islice(remaining, size)):
        yield page


def unknown(missing: list[str], of: int, where: str) -> MediaPipelineError:
    """The error for ids that nobody knows."""
    named = ", ".join(missing[:50]) + (" ..." if len(missing) > 50 else "")  # noqa: PLR2004
    return PermanentError(
        f"{len(missing)} of {of} ids are not in the {where}: {named}. Nothing was done.",
        remedy="`media-pipeline dlq list` shows which there are; correct the ids.",
        code="unknown_letters",
    )


def _by_ids(wanted: LetterFilter) -> Iterable[LetterFilter]:
    if wanted.ids is None:
        return [wanted]
    ids = sorted(wanted.ids)
    return (
        replace(wanted, ids=frozenset(ids[start : start + _SUMMARIES]))
        for start in range(0, len(ids), _SUMMARIES)
    )
