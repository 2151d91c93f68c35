"""A login to Vault that is kept alive: renewed at 2/3 of its life, made anew at its maximum."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from media_pipeline.errors import MediaPipelineError, SystemicError, TransientError
from media_pipeline.settings import VaultSettings
from resources.credentials.leases import ASK_AGAIN, renewal_delay
from resources.credentials.vault_api import VaultApi
from resources.credentials.vault_login import Login, VaultLogin

_log = logging.getLogger(__name__)
#: A renewal that grants less than this part of the first life means that the maximum is near.
_WORTH_KEEPING = 0.5


class VaultSession:
    """Reads with a token that it looks after, also while nobody asks for anything."""

    def __init__(
        self, settings: VaultSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.api = VaultApi(settings)
        self._log_in = VaultLogin(self.api)
        self._clock = clock
        self._lock = threading.RLock()
        self._login: Login | None = None
        self._ends = 0.0  # 0: never
        self._due = 0.0
        self._keeper: threading.Thread | None = None

    def read(self, path: str) -> dict[str, Any]:
        """GET /v1/<path>; a refused token is replaced by a new login once."""
        return self._with_token(lambda token: self.api.read(token, path))

    def write(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """POST /v1/<path>, likewise."""
        return self._with_token(lambda token: self.api.write(token, path, body))

    def keep_alive(self) -> float | None:
        """Renew or log in anew when that is due; answers seconds until the next time."""
        with self._lock:
            if self._login is None or self._ended():
                self._begin()
            elif self._due and self._clock() >= self._due:
                self._renew(self._login)
            return max(0.0, self._due - self._clock()) if self._due else None

    def seconds_left(self) -> float | None:
        """Life of the token; None for one that never ends."""
        with self._lock:
            self.keep_alive()
            return self._ends - self._clock() if self._ends else None

    def _with_token(self, request: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
        token = self._token()
        try:
            return request(token)
        except SystemicError as error:
            if error.code != "credentials_refused" or self.api.settings.auth == "token":
                raise
        with self._lock:
            if self._login is not None and self._login.token == token:
                self._login = None  # revoked, or its policy has changed since
        return request(self._token())

    def _token(self) -> str:
        with self._lock:
            self.keep_alive()
            if self._login is None:
                raise AssertionError("unreachable: keep_alive logs in or raises")
            return self._login.token

    def _ended(self) -> bool:
        return bool(self._ends) and self._clock() >= self._ends

    def _begin(self) -> None:
        asked_at = self._clock()
        login = self._log_in()
        self._login = login
        self._ends = asked_at + login.seconds if login.seconds else 0.0
        self._due = asked_at + renewal_delay(login.seconds) if login.seconds else 0.0
        if self._due and (self._keeper is None or not self._keeper.is_alive()):
            # A secret id that was wrapped logs in a limited number of times: letting the token
            # die while a long step needs no secret would be the end of this process.
            self._keeper = threading.Thread(
                target=_keep, args=(weakref.ref(self),), name="vault-session", daemon=True
            )
            self._keeper.start()

    def _renew(self, login: Login) -> None:
        if not login.renewable:
            self._replace(login)
            return
        asked_at = self._clock()
        try:
            auth = self.api.write(login.token, "auth/token/renew-self", {})["auth"]
        except TransientError:
            self._due = self._clock() + ASK_AGAIN  # the token still lives
            return
        except SystemicError:
            self._replace(login)
            return
        granted = float(auth["lease_duration"])
        if granted < login.seconds * _WORTH_KEEPING:
            self._ends = asked_at + granted
            self._replace(login)
            return
        self._ends = asked_at + granted
        self._due = asked_at + renewal_delay(granted)

    def _replace(self, login: Login) -> None:
        """Log in anew; while that fails, the old token is used up."""
        if self.api.settings.auth == "token":
            self._due = self._clock() + ASK_AGAIN
            _log.warning("the given Vault token ends soon and cannot be renewed")
            return
        try:
            self._begin()
        except MediaPipelineError as error:
            self._login = login
            self._due = self._clock() + ASK_AGAIN
            _log.warning("logging in to Vault anew failed: %s", error)


def _keep(reference: weakref.ref[VaultSession]) -> None:
    """Until the session is gone: wait for the next renewal, do it."""
    pause: float | None = 1.0
    waiting = threading.Event()
    while pause is not None:
        waiting.wait(min(max(pause, 1.0), 60.0))
        session = reference()
        if session is None:
            return
        try:
            pause = session.keep_alive()
        except MediaPipelineError as error:
            _log.warning("Vault session: %s", error)
            pause = ASK_AGAIN
        del session
