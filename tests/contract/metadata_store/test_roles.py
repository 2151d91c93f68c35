"""What each role may not do, asked over HTTP like a stranger with that token would."""

import os

import pytest
import requests

REAL_URL = os.environ.get("POSTGREST_URL")
TABLES = (
    "media_asset", "derivative", "outbox", "dead_letter", "dead_letter_action",
    "dead_letter_history", "lease", "figure_total", "figure_bucket", "processor_day",
)  # fmt: skip


@pytest.fixture(params=["stand-in", *(["postgrest"] if REAL_URL else [])])
def ledger_api(request):
    """(base address, token by role); a real PostgREST gets its tokens from the environment."""
    if request.param == "postgrest":
        tokens = {
            "media_writer": os.environ["POSTGREST_TOKEN"],
            "media_reader": os.environ["POSTGREST_READER_TOKEN"],
        }
        return REAL_URL, tokens
    stack = request.getfixturevalue("stack")
    return stack.ledger_url, {
        "media_writer": stack.ledger_token,
        "media_reader": stack.reader_token,
    }


def ask(api, role, method, target, **options):
    url, tokens = api
    headers = {"Accept-Profile": "media", "Content-Profile": "media"}
    if role != "anon":
        headers["Authorization"] = f"Bearer {tokens[role]}"
    return requests.request(method, f"{url}/{target}", headers=headers, timeout=10, **options)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("GET", {}),
        ("POST", {"json": [{}]}),
        ("PATCH", {"json": {"created_at": "2020-01-01"}}),
        ("DELETE", {}),
    ],
    ids=["read", "insert", "update", "delete"],
)
def test_a_writer_has_functions_and_no_tables(ledger_api, table, method, options):
    answer = ask(ledger_api, "media_writer", method, table, **options)
    assert answer.status_code >= 400
    assert not answer.ok


@pytest.mark.parametrize("table", TABLES)
def test_a_reader_reads_and_changes_nothing(ledger_api, table):
    assert ask(ledger_api, "media_reader", "GET", f"{table}?limit=1").ok
    for method, options in (("POST", {"json": [{}]}), ("PATCH", {"json": {"state": "x"}})):
        assert not ask(ledger_api, "media_reader", method, table, **options).ok


@pytest.mark.parametrize(
    "function", ["register", "reject", "claim_batch", "record", "mark_published"]
)
def test_a_reader_calls_nothing_that_writes(ledger_api, function):
    arguments = {
        "register": {"arrivals": []},
        "reject": {"messages": [], "pipeline_version": "0", "image_digest": ""},
        "claim_batch": {"run": "r", "root_run": "r", "run_created": 0, "asset_ids": []},
        "record": {"run": "r", "results": [], "pipeline_version": "0", "image_digest": ""},
        "mark_published": {"event_ids": []},
    }[function]
    answer = ask(ledger_api, "media_reader", "POST", f"rpc/{function}", json=arguments)
    assert (answer.status_code, answer.json()["code"]) == (403, "42501")
    assert ask(ledger_api, "media_writer", "POST", f"rpc/{function}", json=arguments).ok


@pytest.mark.parametrize("target", [*TABLES, "rpc/counts", "rpc/metrics", "rpc/claim_batch"])
def test_without_a_token_nothing_is_possible(ledger_api, target):
    method, options = ("POST", {"json": {}}) if target.startswith("rpc") else ("GET", {})
    assert ask(ledger_api, "anon", method, target, **options).status_code in (401, 403, 404)


def test_a_token_with_another_signature_is_refused(ledger_api):
    url, tokens = ledger_api
    forged = tokens["media_writer"].rsplit(".", 1)[0] + ".AAAA"
    answer = ask((url, {"media_writer": forged}), "media_writer", "POST", "rpc/counts", json={})
    assert answer.status_code == 401
