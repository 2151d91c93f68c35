"""SeaweedFS as the S3 server: buckets for uploads, derived media and the event log."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from media_pipeline.local_stack import vault
from media_pipeline.local_stack.executables import find_executable
from media_pipeline.local_stack.process import ServerProcess
from media_pipeline.local_stack.secrets_file import StackSecrets, write_private

MEDIA_BUCKET = "media"
DERIVED_BUCKET = "media-derived"
EVENT_LOG_BUCKET = "kafka"
PORT_NAMES = tuple(
    f"weed-{part}{suffix}"
    for part in ("master", "volume", "filer", "s3", "admin")
    for suffix in ("", "-grpc")
)


def start(
    data_dir: Path,
    ports: Mapping[str, int],
    secrets: StackSecrets,
    log_dir: Path,
    *,
    issuer: str,
) -> ServerProcess:
    """Start SeaweedFS and make the buckets; answers once a real request succeeds.

    Its STS believes identity tokens of `issuer`.
    """
    directory = data_dir / "seaweedfs"
    directory.mkdir(parents=True, exist_ok=True)
    identities = data_dir / "s3-identities.json"
    write_private(identities, json.dumps(_identities(secrets)))
    access = data_dir / "s3-access.json"
    write_private(access, json.dumps(access_rules(issuer, secrets)))
    command = [
        find_executable("weed"), "mini",
        f"-dir={directory}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        f"-s3.config={identities}", f"-s3.iam.config={access}",
        # Off: telemetry (on by default) and every surface that nobody here uses.
        "-master.telemetry=false", "-webdav=false", "-admin.ui=false",
        "-s3.port.iceberg=0", "-s3.port.lance=0",
    ]  # fmt: skip
    for part in ("master", "volume", "filer", "s3", "admin"):
        command.append(f"-{part}.port={ports[f'weed-{part}']}")
        command.append(f"-{part}.port.grpc={ports[f'weed-{part}-grpc']}")
    process = ServerProcess(
        "object-store",
        command,
        log_dir=log_dir,
        cwd=directory,
        env={
            # Without these the filer port would serve every object to anybody on the machine.
            "WEED_JWT_FILER_SIGNING_KEY": secrets.filer_signing_key,
            "WEED_JWT_FILER_SIGNING_READ_KEY": secrets.filer_signing_key,
        },
    ).start()
    endpoint = f"127.0.0.1:{ports['weed-s3']}"
    process.wait_ready(lambda: _healthy(endpoint))
    process.wait_ready(lambda: _make_buckets(endpoint, secrets))
    return process


def access_rules(issuer: str, secrets: StackSecrets) -> dict[str, object]:
    """Who may assume which role, and what each role may do: nothing that is not listed."""
    provider = {
        "name": "vault",
        "type": "oidc",
        "enabled": True,
        "config": {
            "issuer": issuer,
            "clientId": vault.WORKLOAD,
            "jwksUri": f"{issuer}/.well-known/keys",
        },
    }
    return {
        "sts": {
            "tokenDuration": "1h",
            "maxSessionLength": "12h",
            "issuer": "media-pipeline-sts",
            "signingKey": base64.b64encode(secrets.sts_signing_key.encode()).decode(),
            "providers": [provider],
        },
        "policy": {"defaultEffect": "Deny", "storeType": "memory"},
        "roles": [_role(name, role) for name, (role, _) in ROLES.items()],
        "policies": [
            {"name": name, "document": {"Version": "2012-10-17", "Statement": statements}}
            for name, (_, statements) in ROLES.items()
        ],
    }


def role_arn(name: str) -> str:
    return f"arn:aws:iam::role/{name}"


def _role(name: str, ledger_role: str) -> dict[str, object]:
    """A role for those whose identity token has this `role` claim."""
    trust = {
        "Effect": "Allow",
        "Principal": {"Federated": "vault"},
        "Action": ["sts:AssumeRoleWithWebIdentity"],
        "Condition": {"StringEquals": {"oidc:role": ledger_role}},
    }
    return {
        "roleName": name,
        "roleArn": role_arn(name),
        "trustPolicy": {"Version": "2012-10-17", "Statement": [trust]},
        "attachedPolicies": [name],
    }


def _allow(bucket: str, *actions: str, below: str = "") -> list[dict[str, object]]:
    """On the objects of a bucket (`below` a prefix), and to list it."""
    objects = [f"s3:{action}" for action in actions]
    where = f"arn:aws:s3:::{bucket}"
    return [
        {"Effect": "Allow", "Action": objects, "Resource": [f"{where}/{below}*"]},
        {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [where]},
    ]


#: What `doctor` cleans up after itself; nothing else is ever deleted.
_PROBE = _allow(DERIVED_BUCKET, "GetObject", "PutObject", "DeleteObject", below="probe/")

#: Role -> claim that may assume it, and what it may do. Sensors and exporter have no business
#: here, and the broker's bucket is nobody's. `ingest` uploads, so the whole pipeline writes both.
ROLES: dict[str, tuple[str, list[dict[str, object]]]] = {
    "media-pipeline": (
        "media_writer",
        [
            *_allow(MEDIA_BUCKET, "GetObject", "PutObject"),
            *_allow(DERIVED_BUCKET, "GetObject", "PutObject"),
            *_PROBE,
        ],
    ),
    "media-worker": (
        "media_worker",
        [
            *_allow(MEDIA_BUCKET, "GetObject"),
            *_allow(DERIVED_BUCKET, "GetObject", "PutObject"),
            *_PROBE,
        ],
    ),
    "media-relay": (
        "media_relay",
        [*_allow(DERIVED_BUCKET, "GetObject", "PutObject", below="dead-letters/"), *_PROBE],
    ),
    "media-operator": (
        "media_operator",
        [*_allow(MEDIA_BUCKET, "GetObject", "PutObject"), *_allow(DERIVED_BUCKET, "GetObject")],
    ),
}


def _identities(secrets: StackSecrets) -> dict[str, object]:
    key = {"accessKey": secrets.s3_access_key, "secretKey": secrets.s3_secret_key}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    return {"identities": [{"name": "media", "credentials": [key], "actions": actions}]}


def _healthy(endpoint: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{endpoint}/healthz", timeout=1) as answer:
            return bool(answer.status == 200)  # noqa: PLR2004
    except (urllib.error.URLError, OSError):
        return False


def _make_buckets(endpoint: str, secrets: StackSecrets) -> bool:
    """Make what is missing; false while the volume server is not there yet."""
    import io

    import urllib3
    from minio import Minio
    from minio.error import MinioException

    pool = urllib3.PoolManager(timeout=urllib3.Timeout(connect=1, read=5), retries=False)
    client = Minio(
        endpoint=endpoint,
        access_key=secrets.s3_access_key,
        secret_key=secrets.s3_secret_key,
        secure=False,
        region="us-east-1",
        http_client=pool,
    )
    try:
        for bucket in (MEDIA_BUCKET, DERIVED_BUCKET, EVENT_LOG_BUCKET):
            if not client.bucket_exists(bucket_name=bucket):
                client.make_bucket(bucket_name=bucket)
        # A real PUT: health says yes before a volume can be written.
        client.put_object(
            bucket_name=DERIVED_BUCKET, object_name="probe/start", data=io.BytesIO(b"1"), length=1
        )
    except (MinioException, urllib3.exceptions.HTTPError):
        return False
    return True
