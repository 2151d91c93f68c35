"""What each component may not do, asked of the real servers with its own identity."""

import io
import json

import pytest
import requests

from media_pipeline.errors import SystemicError
from media_pipeline.local_stack import object_store, vault
from media_pipeline.settings import VaultSettings
from resources.credentials import WorkloadIdentity
from resources.credentials.object_store_sts import assume_role
from resources.credentials.vault_session import VaultSession

COMPONENTS = ("sensor", "worker", "relay", "exporter", "operator")

#: Who talks to Kafka. Runs never do.
KAFKA_USERS = ("sensor", "relay", "exporter", "operator")

#: Function -> arguments that change nothing, and the components that may call it.
FUNCTIONS = {
    "register": ({"arrivals": []}, {"sensor"}),
    "reject": ({"messages": [], "pipeline_version": "0", "image_digest": ""}, {"sensor"}),
    "newest_pause": ({}, {"sensor", "exporter", "operator"}),
    "retirable": ({"asset_ids": [], "idle_seconds": 1}, {"sensor", "exporter", "operator"}),
    "claim_batch": (
        {"run": "r", "root_run": "r", "run_created": 0, "asset_ids": []},
        {"worker"},
    ),
    "record": (
        {"run": "r", "results": [], "pipeline_version": "0", "image_digest": ""},
        {"worker"},
    ),
    "derivatives_of": ({"asset_ids": []}, {"worker", "exporter", "operator"}),
    "unpublished": ({"max_rows": 1}, {"relay"}),
    "mark_published": ({"event_ids": []}, {"relay"}),
    "take_lease": (
        {"lease_name": "n", "lease_token": "t", "lease_holder": "h", "lease_host": "h",
         "seconds": 0},
        {"operator"},
    ),
    "release_lease": ({"lease_name": "n", "lease_token": "t"}, {"operator"}),
    "end_replay": ({"of_replay": "no-such", "proven": {}}, {"operator"}),
    "metrics": ({}, {"exporter", "operator"}),
    "overdue_events": (
        {"older_seconds": 1, "max_rows": 1}, {"worker", "exporter", "operator"},
    ),
    "dead_letter_records": ({"ids": []}, {"exporter", "operator"}),
    "counts": ({}, set(COMPONENTS)),
    "doctor": ({}, set(COMPONENTS)),
    "controls": ({}, {"sensor", "worker", "exporter", "operator"}),
    "trip_breakers": ({"told": []}, {"sensor"}),
    "breaker_probed": ({"passed": False, "said": ""}, {"sensor"}),
    "hold": ({"arrivals": [], "scope": "bucket:none"}, {"sensor"}),
    "waiting": ({"paused_scopes": [], "grace_seconds": 1, "max_rows": 1}, {"sensor"}),
    "losses": ({"run": "r", "asset_ids": []}, {"worker"}),
    "leave_cage": (
        {"asset": "none", "version": "1", "of_kind": "text", "under_fence": 0}, {"worker"},
    ),
    # Steps inside other functions: nobody calls them.
    "claim": ({"run": "r", "root_run": "r", "asset_ids": []}, set()),
    "bury": ({"run": "r", "pipeline_version": "0", "image_digest": ""}, set()),
    "count_outcomes": ({}, set()),
}  # fmt: skip
READERS = {"exporter", "operator"}
TABLES = ("media_asset", "derivative", "outbox", "dead_letter")

#: (bucket, key, action) and the components that may do it.
OBJECTS = {
    ("media", "in/x", "get"): {"worker", "operator"},
    ("media", "in/x", "put"): {"operator"},
    ("media", "in/x", "delete"): set(),
    ("media-derived", "derived/x", "get"): {"worker", "operator"},
    ("media-derived", "derived/x", "put"): {"worker"},
    ("media-derived", "derived/x", "delete"): set(),
    ("media-derived", "dead-letters/x", "put"): {"worker", "relay"},
    ("kafka", "x", "get"): set(),
    ("kafka", "x", "put"): set(),
}

#: Path of Vault and the components that may read it.
SECRETS = {
    **{f"identity/oidc/token/media-{one}": {one} for one in COMPONENTS},
    # A user of Kafka each: a password that all read would open what any of them may.
    **{f"secret/data/media-pipeline/kafka/{one}": {one} for one in KAFKA_USERS},
    "secret/data/media-pipeline": set(),
    "secret/metadata/media-pipeline": set(),
    "auth/approle/role/media-pipeline/secret-id": set(),
    "identity/oidc/token/media-pipeline": set(),
    "sys/policies/acl/media-worker": set(),
    "sys/raw/core": set(),
}


@pytest.fixture(scope="module")
def logins(stack):
    """Settings by component: each with a login, a policy and an identity as deploy/vault says."""
    import hvac

    client = hvac.Client(url=stack.vault_address, token=stack.vault_token)
    post = client.adapter.post
    made = {}
    for component in COMPONENTS:
        name = f"media-{component}"
        policy = (vault.policies_dir() / f"{name}.hcl").read_text()
        client.sys.create_or_update_acl_policy(name, policy)
        template = json.dumps({"role": f"media_{component}"})
        identity = {"key": vault.WORKLOAD, "client_id": vault.WORKLOAD, "template": template}
        post(f"/v1/identity/oidc/role/{name}", json={**identity, "ttl": "1h"})
        post(f"/v1/auth/approle/role/{name}", json={"token_policies": [name], "token_ttl": "1h"})
        made[component] = VaultSettings(
            address=stack.vault_address,
            mode="workload_identity",
            auth="approle",
            role_id=client.auth.approle.read_role_id(name)["data"]["role_id"],
            secret_id=client.auth.approle.generate_secret_id(name)["data"]["secret_id"],
            identity_role=name,
        )
    for one in KAFKA_USERS:
        client.secrets.kv.v2.create_or_update_secret(
            path=f"media-pipeline/kafka/{one}", secret={"kafka_password": "p"}, mount_point="secret"
        )
    return made


@pytest.fixture(scope="module")
def tokens(logins, stack):
    store = stack.settings().object_store
    return {
        one: WorkloadIdentity(login, store).secret("ledger_token") for one, login in logins.items()
    }


@pytest.fixture(scope="module")
def clients(tokens, stack):
    """S3 client by component, None where the STS gives it no keys."""
    import urllib3
    from minio import Minio

    settings = stack.settings().object_store
    made = {}
    for component, token in tokens.items():
        arn = object_store.role_arn(f"media-{component}")
        try:
            keys = assume_role(settings.model_copy(update={"sts_role_arn": arn}), token).value
        except SystemicError:
            made[component] = None
            continue
        made[component] = Minio(
            endpoint=stack.s3_endpoint, access_key=keys.access_key, secret_key=keys.secret_key,
            session_token=keys.session_token, secure=False, region="us-east-1",
            http_client=urllib3.PoolManager(retries=False, timeout=10),
        )  # fmt: skip
    return made


def ask(stack, token, method, target, **options):
    headers = {"Accept-Profile": "media", "Content-Profile": "media"}
    headers["Authorization"] = f"Bearer {token}"
    return requests.request(
        method, f"{stack.ledger_url}/{target}", headers=headers, timeout=10, **options
    )


@pytest.mark.parametrize("component", COMPONENTS)
def test_functions(stack, tokens, component):
    for function, (arguments, allowed) in FUNCTIONS.items():
        answer = ask(stack, tokens[component], "POST", f"rpc/{function}", json=arguments)
        assert answer.ok == (component in allowed), f"{function}: {answer.text}"
        if not answer.ok:
            assert answer.json()["code"] == "42501"


@pytest.mark.parametrize("component", COMPONENTS)
def test_tables(stack, tokens, component):
    for table in TABLES:
        read = ask(stack, tokens[component], "GET", f"{table}?limit=1")
        assert read.ok == (component in READERS), table
        for method, body in (("POST", [{}]), ("PATCH", {"run_id": "x"}), ("DELETE", None)):
            assert not ask(stack, tokens[component], method, table, json=body).ok


@pytest.mark.parametrize("component", COMPONENTS)
def test_objects(stack, clients, component):
    from minio.error import S3Error

    client = clients[component]
    if client is None:
        assert component not in set().union(*OBJECTS.values())
        return
    for (bucket, key, action), allowed in OBJECTS.items():
        code = ""
        try:
            if action == "get":
                answer = client.get_object(bucket_name=bucket, object_name=key)
                answer.close()
                answer.release_conn()
            elif action == "put":
                client.put_object(
                    bucket_name=bucket, object_name=key, data=io.BytesIO(b"x"), length=1
                )
            else:
                client.remove_object(bucket_name=bucket, object_name=key)
        except S3Error as error:
            code = error.code
        wanted = ("", "NoSuchKey") if component in allowed else ("AccessDenied",)
        assert code in wanted, (bucket, key, action)


def test_no_component_takes_anothers_role_of_the_store(stack, tokens):
    settings = stack.settings().object_store
    for component, token in tokens.items():
        for role in object_store.ROLES:
            if role == f"media-{component}":
                continue
            other = settings.model_copy(update={"sts_role_arn": object_store.role_arn(role)})
            with pytest.raises(SystemicError) as caught:
                assume_role(other, token)
            assert caught.value.code == "sts_refused"


@pytest.mark.parametrize("component", COMPONENTS)
def test_secrets(logins, component):
    session = VaultSession(logins[component])
    for path, allowed in SECRETS.items():
        if component in allowed:
            assert session.read(path)["data"]
            continue
        with pytest.raises(SystemicError) as caught:
            session.read(path)
        assert caught.value.code == "credentials_refused", path


def test_the_table_of_functions_is_complete(stack):
    """What a component may call and the table above does not know would be untested."""
    import psycopg

    with psycopg.connect(stack.postgres_dsn) as connection:
        rows = connection.execute(
            "select r.rolname, p.proname from pg_roles r, pg_proc p"
            " where r.rolname = any(%s) and p.pronamespace = 'media'::regnamespace"
            " and has_function_privilege(r.rolname, p.oid, 'execute')"
            " and not has_function_privilege('media_reader', p.oid, 'execute')",
            ([f"media_{one}" for one in COMPONENTS],),
        ).fetchall()
    known = {(f"media_{one}", name) for name, (_, ones) in FUNCTIONS.items() for one in ones}
    known.add(("media_worker", "enter_cage"))  # leaves a row; its own contract calls it
    # What the tests of the commands call.
    for name in (
        "act_on_letters",
        "begin_replay",
        "note_replay_portion",
        "note_replay_launch",
        "set_flag",
    ):
        known.add(("media_operator", name))
    unknown = set(rows) - known
    assert not unknown


def test_a_token_for_somebody_else_is_not_for_the_ledger(stack):
    import jwt

    from media_pipeline.local_stack.secrets_file import load_or_make

    secret = load_or_make(stack.data_dir / "secrets.json").jwt_secret
    for audience, status in (("kafka", 401), (["kafka", "media-pipeline"], 200)):
        token = jwt.encode({"role": "media_writer", "aud": audience}, secret, algorithm="HS256")
        assert ask(stack, token, "POST", "rpc/counts", json={}).status_code == status
