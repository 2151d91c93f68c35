"""Lifetimes of credentials, told from what they say themselves."""

import time

import jwt
import pytest

from media_pipeline.settings import LedgerSettings, Settings
from resources.credential_lifetimes import seconds_left
from resources.credentials import SettingsCredentials


def left(token):
    credentials = SettingsCredentials(Settings(ledger=LedgerSettings(token=token)))
    return seconds_left(credentials)


def token_of(**claims):
    return jwt.encode({"role": "media_writer", **claims}, "k" * 32, algorithm="HS256")


def test_a_token_with_an_end():
    assert 590 < left(token_of(exp=int(time.time()) + 600))["ledger_token"] <= 600


def test_an_expired_token_is_below_zero():
    assert left(token_of(exp=int(time.time()) - 60))["ledger_token"] < 0


@pytest.mark.parametrize("token", [token_of(), "opaque", "a.!!.c", "a.e30.c"])
def test_a_token_without_an_end_is_left_out(token):
    assert left(token) == {}
