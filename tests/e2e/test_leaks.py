"""After media have gone through: no secret is anywhere that people or other systems can read.

Looked through: every table of Dagster and of the ledger (runs, tags, run configuration, event log,
counters that become metrics), every topic, every log file, what steps printed, command lines, and
the traces that were sent. A process that holds secrets leaves no core file either. Jobs of
Kubernetes: tests/faults/test_kubernetes_launch.py.
"""

import json
import os
import re
from pathlib import Path

import psycopg
import pytest

#: The media of the fixtures may have to go through first.
pytestmark = pytest.mark.timeout(500)

#: Secrets that are made at run time are known by their form alone: signed tokens, Vault's tokens,
#: keys of the STS, signed addresses.
FORMS = re.compile(
    r"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}|\b(?:hv)?[sb]\.[A-Za-z0-9]{24,}"
    r"|X-Amz-Signature=|X-Amz-Security-Token=",
)
#: The only files that may hold secrets; each is readable by its owner alone (test_stack.py).
KEPT = {
    "secrets.json", "s3-identities.json", "s3-access.json", "postgrest-keys.json", "stack.json",
    "root-token", "secret-id", "seal.key",
}  # fmt: skip
TEXT = {".log", ".out", ".err", ".json", ".yaml", ".txt", ""}


@pytest.fixture(scope="module")
def secrets(stack, collector):
    """Every secret of this stack that does not change while it runs."""
    made = json.loads((stack.data_dir / "secrets.json").read_text())
    return {
        **made,
        "vault root token": stack.vault_token,
        "secret id": stack.vault_secret_id_file.read_text(),
        "ledger token": stack.ledger_token,
        "token of the trace store": collector.token,
    }


def tables(dsn: str):
    """(name, all rows as text) of each table that is not PostgreSQL's own."""
    with psycopg.connect(dsn) as connection:
        names = connection.execute(
            "select format('%I.%I', schemaname, tablename) from pg_tables"
            " where schemaname not in ('pg_catalog', 'information_schema')"
        ).fetchall()
        for (name,) in names:
            rows = connection.execute(f"select t::text from {name} t").fetchall()  # noqa: S608  # ours
            yield name, "\n".join(row[0] for row in rows)


def files(folder: Path):
    """(path, text) of each log, printed output and configuration below a folder."""
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix in TEXT and path.name not in KEPT:
            yield str(path), path.read_text(errors="replace")


def command_lines():
    """Of everything that descends from this process: servers, Dagster, runs, workers."""
    parents, lines = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[folder.name] = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
        except OSError:
            continue  # ended meanwhile
        lines[folder.name] = line.decode(errors="replace")
    for pid, line in lines.items():
        above = pid
        while above in parents and above != str(os.getpid()):
            above = parents[above]
        if above == str(os.getpid()):
            yield f"/proc/{pid}/cmdline", line


@pytest.fixture(scope="module")
def readable(stack, world, samples, collector):
    """Everything that can be read, by where it stands."""
    found = {}
    for database in ("media", "dagster"):
        dsn = stack.postgres_dsn.rsplit("/", 1)[0] + f"/{database}"
        found |= {f"{database}: {name}": text for name, text in tables(dsn)}
    for topic in ("media.ingested.v1", "media.asset_enriched.v1", "media.processing.dlq"):
        poll = world.event_source.poll(topic, {}, max_records=10_000, deadline_seconds=20)
        found[topic] = "\n".join(map(repr, poll.records))
    found |= dict(files(stack.data_dir / "logs"))
    found |= dict(files(stack.data_dir / "dagster_home"))
    found |= dict(command_lines())
    found["traces"] = "\n".join(collector.texts)
    found["environment that `media-pipeline env` prints"] = str(stack.environment())
    return found


def test_no_secret_is_anywhere(readable, secrets):
    leaks = [
        f"{name} in {where}"
        for where, text in readable.items()
        for name, secret in secrets.items()
        if secret in text
    ]
    assert not leaks


def test_nothing_has_the_form_of_a_secret(readable):
    leaks = [f"{where}: {hit[0][:12]}..." for where, text in readable.items()
             if (hit := FORMS.search(text))]  # fmt: skip
    assert not leaks


def test_the_token_of_the_trace_store_went_there_and_nowhere_else(collector, samples):
    assert {token for _, token in collector.asked} == {f"Bearer {collector.token}"}


def test_no_core_file_is_left_by_whoever_holds_secrets(samples):
    """Code servers and runs: the daemon and the web server hold none of the pipeline's own."""
    limits = {
        line: (Path(where).parent / "limits").read_text()
        for where, line in command_lines()
        if "api grpc" in line and Path(where).exists()
    }
    assert limits
    for line, text in limits.items():
        assert re.search(r"Max core file size +0 +0 ", text), line


def test_the_search_would_find_one(readable, samples, secrets, stack):
    """Not empty-handed: what must be in each place is found there, and the forms are recognised."""
    asset = samples[0].asset_id
    for place in (
        "media: media.media_asset", "dagster: public.event_logs", "media.ingested.v1", "traces",
    ):  # fmt: skip
        assert asset in readable[place], place
    assert any("media.processing.dlq" in readable[one] for one in readable if "outbox" in one)
    assert any("dagster" in text for where, text in readable.items() if where.startswith("/proc"))
    assert any(where.endswith("dagster.log") and text for where, text in readable.items())
    assert any("compute_logs" in where for where in readable)
    assert FORMS.search(f"Authorization: Bearer {stack.ledger_token}")
    assert FORMS.search(f"token={stack.vault_token}")
    assert all(len(secret) >= 16 for secret in secrets.values())
