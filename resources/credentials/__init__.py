"""Credentials at the moment of use, so that a rotation needs no restart.

    environment          SettingsCredentials: what the process was given
    stored               StoredCredentials: kv and the database engine of Vault or OpenBao
    workload_identity    WorkloadIdentity: Vault signs who we are; PostgREST and STS believe it

Belongs here: how to log in, how long a value may be used, when it is fetched anew. Must not be
here: what a credential is used for. Vault is reached through `vault_session` alone.
"""

from resources.credentials.environment import NAMES, SettingsCredentials
from resources.credentials.source import credential_source
from resources.credentials.stored import StoredCredentials
from resources.credentials.workload_identity import WorkloadIdentity

__all__ = [
    "NAMES",
    "SettingsCredentials",
    "StoredCredentials",
    "WorkloadIdentity",
    "credential_source",
]
