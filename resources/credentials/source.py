"""Which source a process uses; one per process, however many resources ask."""

from __future__ import annotations

import hashlib
import os
import resource
import threading
from typing import Any

from pydantic import SecretStr

from media_pipeline.domain.ports import CredentialSource
from media_pipeline.settings import Settings
from media_pipeline.telemetry.log_redaction import redact_logs
from resources.credentials.environment import SettingsCredentials
from resources.credentials.stored import StoredCredentials
from resources.credentials.workload_identity import WorkloadIdentity

_lock = threading.Lock()
#: Sensors build their resources at each tick: without this each tick would log in to Vault.
_sources: dict[tuple[int, str], CredentialSource] = {}


def credential_source(settings: Settings) -> CredentialSource:
    """Vault when its address is set, else the environment.

    Whoever holds secrets keeps them to itself: log records are redacted from here on, and a crash
    of this process leaves no core file, nor does one of its children.
    """
    redact_logs()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not settings.vault.address:
        return SettingsCredentials(settings)
    key = (os.getpid(), _fingerprint(settings))
    with _lock:
        if key not in _sources:
            _sources[key] = (
                WorkloadIdentity(settings.vault, settings.object_store)
                if settings.vault.mode == "workload_identity"
                else StoredCredentials(settings.vault)
            )
        return _sources[key]


def _fingerprint(settings: Settings) -> str:
    """Of everything that decides which credentials come out; secrets included, hence a digest."""

    def plain(value: Any) -> Any:
        if isinstance(value, SecretStr):
            return value.get_secret_value()
        return value

    groups = (settings.vault, settings.object_store)
    fields = [(name, plain(value)) for group in groups for name, value in group]
    return hashlib.sha256(repr(fields).encode()).hexdigest()
