"""Connections to the event log: how to log in, what its errors mean, one more try after a refusal.

Passwords, tokens and certificates are read at each connection, also those that a client makes by
itself (`event_log_secrets`), so that a rotation needs no restart.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from media_pipeline.domain.failures import of_event_log
from media_pipeline.domain.ports import CredentialSource
from media_pipeline.errors import SystemicError, TransientError
from media_pipeline.settings import KafkaSettings

Answer = TypeVar("Answer")


def client_options(settings: KafkaSettings, credentials: CredentialSource) -> dict[str, Any]:
    """Connection options that consumer, producer and admin share. Holds secrets: never log it."""
    bound = int(settings.request_timeout_seconds * 1000)
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers.split(","),
        "security_protocol": settings.security_protocol,
        "request_timeout_ms": bound,
        "bootstrap_timeout_ms": bound,
        "client_id": settings.group_id,
    }
    if settings.security_protocol.endswith("SSL"):
        options |= _tls_options(settings, credentials)
    if settings.security_protocol.startswith("SASL"):
        options |= _sasl_options(settings, credentials)
    return options


def _tls_options(settings: KafkaSettings, credentials: CredentialSource) -> dict[str, Any]:
    """The files are read at each connection: a renewed certificate is seen without a restart."""
    options: dict[str, Any] = {"ssl_check_hostname": settings.ssl_check_hostname}
    for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
        if getattr(settings, name):
            options[name] = getattr(settings, name)
    if settings.ssl_certfile:
        # Never None: OpenSSL would ask the terminal for the password of an encrypted key.
        encrypted = settings.ssl_key_encrypted
        options["ssl_password"] = credentials.secret("kafka_key_password") if encrypted else ""
    return options


def _sasl_options(settings: KafkaSettings, credentials: CredentialSource) -> dict[str, Any]:
    from resources.event_log_secrets import CurrentSecret, register

    register()
    options: dict[str, Any] = {"sasl_mechanism": settings.sasl_mechanism}
    if settings.sasl_mechanism == "OAUTHBEARER":
        options["sasl_oauth_token_provider"] = CurrentSecret(credentials, "kafka_token")
        return options
    if not settings.sasl_username:
        raise SystemicError(
            f"SASL {settings.sasl_mechanism} needs a user name.",
            remedy="set MEDIA_PIPELINE_KAFKA__SASL_USERNAME.",
            code="credentials_missing",
        )
    options["sasl_plain_username"] = settings.sasl_username
    options["sasl_plain_password"] = CurrentSecret(credentials, "kafka_password")
    return options


class _LoginRefusedError(SystemicError):
    """In the middle of something: worth a new client, which tries what is current."""


class KafkaConnection:
    """What reading and publishing share: a client that is dropped when it breaks, and made anew
    when the broker refuses its login."""

    def __init__(self, settings: KafkaSettings, credentials: CredentialSource) -> None:
        self._settings = settings
        self._credentials = credentials
        self._lock = threading.Lock()  # kafka-python's consumer belongs to one thread at a time

    def close(self) -> None:
        with self._lock:
            self._close()

    def _close(self) -> None:
        raise NotImplementedError

    def _talk(self, doing: str, call: Callable[[], Answer]) -> Answer:
        with self._lock:
            try:
                return self._once(doing, call)
            except _LoginRefusedError:
                return self._once(doing, call)

    def _once(self, doing: str, call: Callable[[], Answer]) -> Answer:
        try:
            with taxonomy(doing, self._settings):
                return call()
        except (TransientError, _LoginRefusedError):
            self._close()
            raise

    def _options(self) -> dict[str, Any]:
        """For a client that is made now. A login by hand goes before: it tells at once and
        exactly what kafka-python would call a time-out; see `event_log_login.sign_in`."""
        options = client_options(self._settings, self._credentials)
        if self._settings.security_protocol != "PLAINTEXT":
            from resources.event_log_login import sign_in

            sign_in(self._settings, options)
        return options


@contextlib.contextmanager
def taxonomy(doing: str, settings: KafkaSettings) -> Iterator[None]:
    """Library errors to ours, by the policy in `domain.failures`."""
    from kafka import errors  # kept out of definitions' import

    try:
        yield
    except (errors.KafkaError, OSError) as error:
        name = type(error).__name__
        failure = of_event_log(name)
        if failure.code == "credentials_refused":
            said = f"the broker refused our login for {doing}: {name}."
            raise _LoginRefusedError(said, remedy=failure.remedy, code=failure.code) from error
        where = "" if failure.home == "systemic" else f" at {settings.bootstrap_servers}"
        raise failure.error(f"{doing}{where} failed: {name} {error}") from error
