"""Answers of PostgREST as errors of the taxonomy, and what the client asks for."""

import json
from collections.abc import Iterator

import pytest
import requests

from media_pipeline.errors import PermanentError, SystemicError, TransientError
from resources.postgrest_client import PostgrestClient, _error_of
from resources.retries import RetryLaterError


def body(code: str) -> str:
    return json.dumps({"code": code, "message": "said so", "details": None, "hint": None})


@pytest.mark.parametrize(
    ("status", "text", "kind", "code"),
    [
        (401, body("PGRST301"), SystemicError, "credentials_refused"),
        (401, body("PGRST303"), SystemicError, "credentials_refused"),
        (401, "", SystemicError, "credentials_refused"),
        (403, body("42501"), SystemicError, "ledger_denied"),
        (404, body("42P01"), SystemicError, "ledger_schema"),
        (404, body("PGRST202"), SystemicError, "ledger_schema"),
        (500, body("40001"), TransientError, "ledger_busy"),
        (500, body("40P01"), TransientError, "ledger_busy"),
        (500, body("57014"), TransientError, "ledger_busy"),
        (503, body("53300"), TransientError, "ledger_busy"),
        (503, body("PGRST001"), TransientError, "ledger_busy"),
        (503, "<html>upstream</html>", TransientError, "ledger_busy"),
        (429, "", TransientError, "ledger_busy"),
        (500, "", TransientError, "ledger_busy"),
        (400, body("22P02"), PermanentError, "ledger_refused"),
        (409, body("23505"), PermanentError, "ledger_refused"),
        (400, body("P0001"), PermanentError, "ledger_refused"),
        (400, "[1]", PermanentError, "ledger_refused"),
    ],
)
def test_the_body_decides_before_the_status(status, text, kind, code):
    error = _error_of(status, text, {}, "rpc/record")
    assert isinstance(error, kind)
    assert error.code == code
    assert error.remedy


@pytest.mark.parametrize(("said", "seconds"), [("7", 7.0), ("Wed, 21 Oct", 0.0), ("", 0.0)])
def test_retry_after_is_honoured_where_it_is_a_number(said, seconds):
    error = _error_of(503, "", {"Retry-After": said}, "rpc/claim")
    assert isinstance(error, RetryLaterError)
    assert error.after_seconds == seconds


class Answer:
    def __init__(self, status: int = 200, payload: object = None):
        self.status_code = status
        self.ok = status < 400
        self.is_redirect = status in (301, 302, 303, 307, 308)
        self.text = "" if payload is None else json.dumps(payload)
        self.content = self.text.encode()
        self.headers: dict[str, str] = {}

    def json(self):
        return json.loads(self.text)


class Credentials:
    def __init__(self):
        self.refreshed = 0

    def secret(self, name: str) -> str:
        return f"token-{self.refreshed}"

    def refused(self, name: str, value: str) -> None:
        assert (name, value) == ("ledger_token", self.secret(name))
        self.refreshed += 1


@pytest.fixture
def asked(monkeypatch) -> Iterator[tuple[list, list]]:
    """(requests made, answers to give)."""
    made: list = []
    answers: list = []

    def request(self, method, url, **options):
        made.append((method, url, options))
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(requests.Session, "request", request)
    monkeypatch.setattr("resources.retries._FIRST_PAUSE", 0.0)
    yield made, answers
    assert not answers, "fewer requests than expected"


@pytest.fixture
def client():
    return PostgrestClient("http://ledger:3000/", Credentials(), schema="media")


def test_a_refused_token_is_refreshed_once_and_tried_again(client, asked):
    made, answers = asked
    answers += [Answer(401, {"code": "PGRST301", "message": "expired"}), Answer(200, [1])]
    assert client.call("claim", {}) == [1]
    tokens = [options["headers"]["Authorization"] for _, _, options in made]
    assert tokens == ["Bearer token-0", "Bearer token-1"]


def test_a_token_that_stays_refused_is_systemic(client, asked):
    _, answers = asked
    answers += [Answer(401, {"code": "PGRST301"})] * 2
    with pytest.raises(SystemicError, match="credentials_refused"):
        client.call("claim", {})


def test_a_broken_connection_is_tried_again(client, asked):
    _, answers = asked
    answers += [requests.ConnectionError("reset"), requests.Timeout("slow"), Answer(200, {})]
    assert client.call("counts", {}) == {}


def test_redirects_are_not_followed_and_time_is_bounded(client, asked):
    made, answers = asked
    answers.append(Answer(204))
    assert client.call("probe", {}) is None
    method, url, options = made[0]
    assert (method, url) == ("POST", "http://ledger:3000/rpc/probe")
    assert options["allow_redirects"] is False
    assert options["timeout"] == (3.0, 30)
    assert options["headers"]["Content-Profile"] == "media"


def test_pages_follow_the_key_and_stop_at_a_short_one(client, asked):
    made, answers = asked
    answers += [
        Answer(200, [{"id": 1}, {"id": 2}]),
        Answer(200, [{"id": 3}, {"id": 4}]),
        Answer(200, []),
    ]
    rows = list(client.select("note", {"state": "eq.open"}, key="id", page_rows=2))
    assert [row["id"] for row in rows] == [1, 2, 3, 4]
    asked_after = [options["params"].get("id") for _, _, options in made]
    assert asked_after == [None, "gt.2", "gt.4"]
    assert all(options["params"]["state"] == "eq.open" for _, _, options in made)


def test_the_paging_key_cannot_be_filtered_as_well(client):
    with pytest.raises(ValueError, match="pages the answer"):
        list(client.select("note", {"id": "gt.5"}, key="id"))


def test_a_key_twice_in_one_upsert_is_folded_because_postgresql_refuses_it(client, asked):
    made, answers = asked
    answers.append(Answer(201))
    client.upsert("note", [{"id": 1, "a": 1}, {"id": 1, "a": 2}], on_conflict=["id"])
    _, _, options = made[0]
    assert json.loads(options["data"]) == [{"id": 1, "a": 2}]
    assert options["params"] == {"on_conflict": "id", "columns": "id,a"}


def test_an_upsert_of_nothing_asks_nothing(client, asked):
    client.upsert("note", [], on_conflict=["id"])
    assert asked[0] == []
