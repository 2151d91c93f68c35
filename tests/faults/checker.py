"""The invariant, asked of the servers themselves: every content version ends exactly one way.

Reads the ledger's tables directly, and topics and objects through the adapters: nothing that
is under test is asked whether it did right.
"""

from collections import Counter
from collections.abc import Collection

import psycopg
from psycopg.rows import dict_row

from media_pipeline.contracts.asset_enriched import parse_asset_enriched
from tests.e2e.pipeline import read_topic

ENRICHED = ("complete", "partial")


class Facts:
    """Everything about media assets whose id begins with `prefix`, and all invalid messages."""

    def __init__(self, world, dsn: str, prefix: str) -> None:
        with psycopg.connect(dsn, row_factory=dict_row) as database:

            def rows(sql: str) -> list[dict]:
                return database.execute(sql, {"prefix": f"{prefix}%"}).fetchall()

            self.versions = rows("select * from media.media_asset where asset_id like %(prefix)s")
            self.derivatives = rows("select * from media.derivative where asset_id like %(prefix)s")
            self.letters = rows(
                "select * from media.dead_letter where asset_id like %(prefix)s"
                " or (asset_id is null and convert_from(record_key, 'UTF8') like %(prefix)s)"
            )
            self.outbox = rows(
                "select * from media.outbox where convert_from(key, 'UTF8') like %(prefix)s"
            )
            # In one statement: others may write to the same ledger meanwhile.
            (both,) = rows(
                "select (select coalesce(jsonb_object_agg(status, count), '{}')"
                " from media.status_total where count > 0) as totals,"
                " (select coalesce(jsonb_object_agg(status, count), '{}') from (select status,"
                " count(*) from media.media_asset group by status) as one) as counted"
            )
            self.totals, self.counted = both["totals"], both["counted"]
        kafka = world.settings.kafka
        begins = prefix.encode()
        self.events = [
            parse_asset_enriched(one.value)
            for one in read_topic(world, kafka.enriched_topic)
            if (one.key or b"").startswith(begins)
        ]
        self.dead = [
            {name: value.decode() for name, value in one.headers}
            for one in read_topic(world, kafka.dead_letter_topic)
            if (one.key or b"").startswith(begins)
        ]
        self.objects = set(world.object_store.list_keys("derived/"))


def violations(facts: Facts, announced: Collection[str], invalid: int = 0) -> list[str]:
    """What is wrong, in words. `announced`: asset ids, each with one content version;
    `invalid`: messages that no contract accepts."""
    return [
        *_ends(facts, set(announced)),
        *_agreement(facts, invalid),
        *_told(facts),
        *_counters(facts),
    ]


def _ends(facts: Facts, announced: set[str]) -> list[str]:
    wrong = []
    seen = Counter(row["asset_id"] for row in facts.versions)
    wrong += [f"{name}: announced, not in the ledger" for name in announced - set(seen)]
    wrong += [f"{name}: {count} content versions" for name, count in seen.items() if count > 1]
    wrong += [
        f"{row['asset_id']}: unfinished ({row['status']})"
        for row in facts.versions
        if row["status"] not in (*ENRICHED, "dead_lettered")
    ]
    return wrong


def _agreement(facts: Facts, invalid: int) -> list[str]:
    """Rows, events, dead letters and objects say the same of each media asset."""
    wrong = []
    status = {row["asset_id"]: row["status"] for row in facts.versions}
    events = Counter(name for name, _ in {(e["asset_id"], e["event_id"]) for e in facts.events})
    letters = Counter(row["asset_id"] for row in facts.letters if row["asset_id"])
    for name, ended in status.items():
        wanted = (1, 0) if ended in ENRICHED else (0, 1)
        found = (events[name], letters[name])
        if found != wanted:
            wrong.append(f"{name}: {ended}, but {found[0]} events and {found[1]} dead letters")
    rejected = [row for row in facts.letters if row["asset_id"] is None]
    if len(rejected) != invalid:
        wrong.append(f"{invalid} invalid messages, {len(rejected)} dead letters for them")
    wrong += [
        f"{row['asset_id']}/{row['kind']}: {part['object_key']} is missing"
        for row in facts.derivatives
        for part in row["artifacts"]
        if part["object_key"] not in facts.objects
    ]
    kinds = Counter(row["asset_id"] for row in facts.derivatives)
    wrong += [
        f"{name}: {ended} without a derivative"
        for name, ended in status.items()
        if ended in ENRICHED and not kinds[name]
    ]
    fences = {row["asset_id"]: row["recorded_fence"] for row in facts.versions}
    wrong += [
        f"{row['asset_id']}/{row['kind']}: written under fence {row['fence']}, the outcome under"
        f" {fences[row['asset_id']]}"
        for row in facts.derivatives
        if row["fence"] != fences[row["asset_id"]]
    ]
    return wrong


def _told(facts: Facts) -> list[str]:
    """What the outbox holds is in the topics, and nothing else is."""
    wrong = [f"{row['event_id']}: not published" for row in facts.outbox if not row["published_at"]]
    told = {event["event_id"] for event in facts.events} | {one["dlq.id"] for one in facts.dead}
    kept = {row["event_id"].partition("#")[0] for row in facts.outbox}
    wrong += [f"{event_id}: in a topic, not in the outbox" for event_id in told - kept]
    wrong += [f"{event_id}: in the outbox, in no topic" for event_id in kept - told]
    letters = {row["dlq_id"] for row in facts.letters}
    wrong += [f"{one}: a dead letter that was not told" for one in letters - told]
    return wrong


def _counters(facts: Facts) -> list[str]:
    if facts.totals != facts.counted:
        return [f"counters say {facts.totals}, the rows {facts.counted}"]
    return []


def repeated(facts: Facts) -> int:
    """Events that were published more than once: allowed, consumers know them by id."""
    ids = [event["event_id"] for event in facts.events] + [one["dlq.id"] for one in facts.dead]
    return len(ids) - len(set(ids))
