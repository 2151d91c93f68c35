"""Passwords and tokens for the event log, asked for at each connection and not once per client.

kafka-python takes a password when a client is made and tries it for ever. Its mechanisms are
registered by name, so ours take their place: they ask a `CurrentSecret`, and tell it how the
login went. Imported where a client is made, because it imports kafka-python.
"""

from __future__ import annotations

import functools
from typing import Any

from kafka.net.sasl import register_sasl_mechanism
from kafka.net.sasl.abc import SaslMechanism
from kafka.net.sasl.oauth import AbstractTokenProvider, SaslMechanismOAuth
from kafka.net.sasl.plain import SaslMechanismPlain
from kafka.net.sasl.scram import SaslMechanismScram

from media_pipeline.domain.ports import CredentialSource


class CurrentSecret(AbstractTokenProvider):  # type: ignore[misc]  # no types published
    """What a broker is told at the next connection. Its text says nothing of the secret."""

    def __init__(self, credentials: CredentialSource, name: str) -> None:
        super().__init__()
        self._credentials = credentials
        self._name = name
        self._unproven = ""

    def token(self) -> str:
        """The current value; what was given before and did not get us in is fetched anew."""
        if self._unproven:
            self.refuse()
        self._unproven = self._credentials.secret(self._name)
        return self._unproven

    def accepted(self) -> None:
        """The broker let us in."""
        self._unproven = ""

    def refuse(self) -> None:
        """The broker did not: the next value must be a newer one, if there is one."""
        self._credentials.refused(self._name, self._unproven)
        self._unproven = ""


def register() -> None:
    """Let kafka-python use our mechanisms, in this process, for clients made with a
    `CurrentSecret` as password; others see no difference."""
    for name, base in (
        ("PLAIN", SaslMechanismPlain),
        ("SCRAM-SHA-256", SaslMechanismScram),
        ("SCRAM-SHA-512", SaslMechanismScram),
        ("OAUTHBEARER", SaslMechanismOAuth),
    ):
        register_sasl_mechanism(name, _asking(base), overwrite=True)


@functools.cache
def _asking(base: type[SaslMechanism]) -> type[SaslMechanism]:
    class Asking(base):  # type: ignore[misc]  # no types published
        def __init__(self, **config: Any) -> None:
            given = config.get("sasl_plain_password")
            self._secret = config.get("sasl_oauth_token_provider")
            if isinstance(given, CurrentSecret):
                self._secret = given
                config["sasl_plain_password"] = given.token()
            super().__init__(**config)

        def is_authenticated(self) -> bool:
            done = bool(super().is_authenticated())
            if done and isinstance(self._secret, CurrentSecret):
                self._secret.accepted()
            return done

    return Asking
