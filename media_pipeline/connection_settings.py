"""Settings of the servers that the pipeline talks to: the event log, the object store, the ledger,
Vault. `media_pipeline.settings` reads them; import them from there.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, SecretStr

MIB = 1024 * 1024


class KafkaSettings(BaseModel):
    """The event log: any broker that speaks the Kafka protocol."""

    bootstrap_servers: str = Field("127.0.0.1:9092", description="host:port list, comma-separated")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="transport; SASL_SSL in production"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = Field(
        "SCRAM-SHA-512",
        description="OAUTHBEARER takes kafka_token: the workload's identity where Vault issues it",
    )
    sasl_username: str | None = Field(None, description="PLAIN and SCRAM; password: kafka_password")
    sasl_password: SecretStr | None = None
    oauth_token: SecretStr | None = Field(
        None, description="OAUTHBEARER without Vault: a token that somebody else renews"
    )
    ssl_cafile: str | None = Field(None, description="path of the CA bundle; default: the system's")
    ssl_certfile: str | None = Field(
        None, description="path of our certificate chain (PEM): mutual TLS, read at each connection"
    )
    ssl_keyfile: str | None = Field(None, description="path of its private key (PEM)")
    ssl_key_encrypted: bool = Field(
        default=False, description="the key file needs a password: kafka_key_password"
    )
    ssl_key_password: SecretStr | None = Field(None, description="of that key file")
    ssl_check_hostname: bool = Field(
        default=True, description="off only where brokers have no names in their certificates"
    )
    unbatched: bool = Field(
        default=False,
        description="send each record alone; for brokers with wrong offsets after batches",
    )
    group_id: str = Field(
        "media-pipeline",
        description="group whose offsets mirror the sensor cursor for lag dashboards",
    )
    ingested_topic: str = "media.ingested.v1"
    enriched_topic: str = "media.asset_enriched.v1"
    dead_letter_topic: str = "media.processing.dlq"
    request_timeout_seconds: float = Field(10, description="bound on one broker request")


class ObjectStoreSettings(BaseModel):
    """Any S3 API. Reads uploads from `allowed_buckets`, writes to `derived_bucket`."""

    endpoint: str = Field("127.0.0.1:9000", description="host:port without scheme")
    secure: bool = Field(default=True, description="TLS; off only for the embedded stack")
    region: str = Field(
        "us-east-1", description="given explicitly: limited keys may not ask for it"
    )
    access_key: SecretStr | None = None
    secret_key: SecretStr | None = None
    sts_endpoint: str | None = Field(
        None, description="http(s)://host:port of the STS; default: the endpoint itself"
    )
    sts_role_arn: str | None = Field(
        None, description="role to assume with the workload's identity token"
    )
    sts_seconds: int = Field(
        3600, description="life of temporary keys; most servers refuse less than 900"
    )
    allowed_buckets: tuple[str, ...] = Field(
        ("media",), description="buckets an event may name; anything else is a dead letter"
    )
    derived_bucket: str = "media-derived"
    public_url: str | None = Field(
        None, description="base of links shown to people, if not the endpoint"
    )
    connect_timeout_seconds: float = Field(3, description="minio-py's own default is 300 s")
    read_timeout_seconds: float = 30
    max_object_bytes: int = Field(100 * MIB, description="larger uploads end as too_large, unread")
    transfer_threads: int = Field(8, description="parallel downloads and uploads in one run")


class LedgerSettings(BaseModel):
    """PostgREST in front of the ledger."""

    url: str = Field("http://127.0.0.1:3000", description="base address of PostgREST")
    schema_name: str = Field("media", description="Accept-Profile / Content-Profile")
    token: SecretStr | None = Field(None, description="JWT with the role claim media_writer")
    timeout_seconds: float = Field(30, description="bound on one request, connect bound is 3 s")
    page_rows: int = Field(1000, description="rows per request, both ways")
    database_url: SecretStr | None = Field(
        None,
        description="postgresql://owner:...@host/database, for `media-pipeline migrate` alone;"
        " everything else goes through PostgREST",
    )


class VaultSettings(BaseModel):
    """Vault or OpenBao. Without an address, credentials come from the environment."""

    address: str | None = Field(None, description="http(s)://host:port")
    namespace: str | None = Field(None, description="Vault namespace")
    ca_file: str | None = Field(None, description="path of the CA bundle; default: the system's")
    timeout_seconds: float = Field(5, description="bound on one request")
    mode: Literal["stored", "workload_identity"] = Field(
        "stored",
        description="stored: keys and tokens are read from kv. workload_identity: Vault signs an"
        " identity token, which PostgREST verifies and the object store's STS exchanges",
    )
    auth: Literal["token", "kubernetes", "approle", "jwt"] = Field(
        "token", description="how to log in; token is for development"
    )
    auth_mount: str | None = Field(None, description="mount of the method; default: its name")
    role: str | None = Field(None, description="kubernetes and jwt: role to log in as")
    token: SecretStr | None = None
    jwt_file: str = Field(
        "/var/run/secrets/vault/token",
        description="kubernetes and jwt: projected token, read at each login",
    )
    role_id: str | None = Field(None, description="approle: not secret by itself")
    secret_id: SecretStr | None = Field(None, description="approle: itself, where no file is")
    secret_id_file: str | None = Field(None, description="approle: read at each login")
    secret_id_wrapped: bool = Field(
        default=False,
        description="the secret id is response-wrapped: it can be unwrapped once, by one process",
    )
    identity_role: str = Field(
        "media-worker", description="identity/oidc role whose token says who we are"
    )
    kafka_identity_role: str | None = Field(
        None, description="the same for Kafka's OAUTHBEARER; default: identity_role"
    )
    database_role: str | None = Field(
        None, description="database/creds role: gives database_username and database_password"
    )
    mount: str = Field("secret", description="kv v2 mount")
    path: str = Field(
        "media-pipeline", description="secret holding the keys listed in resources/credentials"
    )
    outage_seconds: float = Field(
        3600,
        description="values of kv have no lease: how long they are used while Vault is away",
    )
