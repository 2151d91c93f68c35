"""Everything that can be rotated is, while media assets stream through: nothing fails or restarts.

Two streams do what a run does to ledger and object store, through the adapters that runs use, once
as a workload with an identity and once with stored keys. A third one publishes events and reads
them, through a front that asks the embedded broker's clients for a password.
"""

import base64
import json
import os
import signal
import threading
import time
import uuid

import jwt
import pytest

from media_pipeline.domain.media_asset import SourceObject
from media_pipeline.domain.ports import OutgoingEvent
from media_pipeline.errors import TransientError
from media_pipeline.local_stack import metadata_server, vault
from media_pipeline.local_stack.secrets_file import load_or_make, write_private
from media_pipeline.settings import KafkaSettings
from resources.credentials import StoredCredentials, WorkloadIdentity
from resources.event_log import KafkaEventSource
from resources.event_sink import KafkaEventSink
from resources.metadata_store import PostgrestMetadataStore
from resources.object_store import S3ObjectStore
from resources.postgrest_client import PostgrestClient
from tests.contract.credentials.conftest import Corner
from tests.e2e.prometheus_server import running_exporter
from tests.fakes.broker_front import BrokerFront
from tests.fakes.ledger_story import arrive, run
from tests.fakes.sasl_server import Users

PORTION = 20  # media assets between two rotations, per stream


class Stream:
    """One step after the other until told to end; remembers the first failure."""

    def __init__(self, name, source, threads):
        self.name = name
        self.source = source
        self.done = 0
        self.failure = None
        self._moved = threading.Condition()
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(n,)) for n in range(threads)]

    def start(self):
        for thread in self._threads:
            thread.start()
        return self

    def step(self, number):
        raise NotImplementedError

    def _work(self, number):
        try:
            while not self._ending.is_set():
                self.step(number)
                with self._moved:
                    self.done += 1
                    self._moved.notify_all()
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the test's result
            with self._moved:
                self.failure = error
                self._moved.notify_all()

    def further(self, count=PORTION):
        """Wait until so many more are done; any failure ends the test."""
        with self._moved:
            goal = self.done + count
            assert self._moved.wait_for(lambda: self.failure or self.done >= goal, 120)
        if self.failure:
            raise self.failure

    def end(self):
        self._ending.set()
        for thread in self._threads:
            thread.join(60)


class MediaStream(Stream):
    """Media assets: upload, register, fetch, put, record."""

    def __init__(self, name, settings, source, scratch):
        super().__init__(name, source, threads=2)
        self._scratch = scratch
        self._store = S3ObjectStore(settings.object_store, source)
        client = PostgrestClient(settings.ledger.url, source, schema="media")
        self._ledger = PostgrestMetadataStore(client)

    def step(self, number):
        file = self._scratch / f"{self.name}-{number}"
        asset = f"{self.name}-{uuid.uuid4().hex}"
        self._store.upload("media", f"in/{asset}", asset.encode(), None)
        arrive(self._ledger, asset)
        found = self._store.fetch(SourceObject("media", f"in/{asset}"), file, max_bytes=1000)
        self._store.put(f"derived/{asset}", found.path.read_bytes(), "text/plain")
        run(self._ledger, asset)


class EventStream(Stream):
    """Events out and in again; one that a broken connection took along is sent once more, which
    is what the relay does with its outbox."""

    def __init__(self, settings, source, topic):
        super().__init__("events", source, threads=1)
        self.sink, self.events = (
            KafkaEventSink(settings, source),
            KafkaEventSource(settings, source),
        )
        self.sent, self.read, self.broken = [], [], 0
        self._topic, self._positions = topic, {}

    def step(self, number):
        name = uuid.uuid4().hex.encode()
        self._again(lambda: self.sink.publish([OutgoingEvent("1", self._topic, b"k", name)]))
        self.sent.append(name)
        self._again(self.catch_up)

    def catch_up(self):
        found = self.events.poll(self._topic, self._positions, max_records=100, deadline_seconds=10)
        self.read += [record.value for record in found.records]
        self._positions = dict(found.positions)

    def _again(self, call):
        while True:
            try:
                return call()
            except TransientError:
                self.broken += 1

    def end(self):
        super().end()
        self.sink.close()
        self.events.close()


class Ground:
    """The servers' side of a rotation: what an administrator does."""

    def __init__(self, stack, corner):
        self.stack, self.corner = stack, corner
        self.ledger_keys = []
        self.withdrawn = ""  # id of a signing key of Vault that PostgREST shall know no longer
        self._identities = stack.data_dir / "s3-identities.json"
        self._before = self._identities.read_text()

    def tell_postgrest(self):
        """Own keys of this test, and whatever Vault signs with; then SIGUSR2."""
        file = self.stack.data_dir / "postgrest-keys.json"
        signing = vault.public_keys(self.stack.vault_address)
        keys = [*self.ledger_keys, *(one for one in signing if one["kid"] != self.withdrawn)]
        metadata_server.write_keys(file, load_or_make(self.stack.data_dir / "secrets.json"), keys)
        metadata_server.reload_keys(self.stack.servers["postgrest"])

    def ledger_token(self, key: bytes) -> str:
        claims = {"role": "media_writer", "exp": int(time.time()) + 600}
        return jwt.encode(claims, key, algorithm="HS256")

    def accepts(self, token: str) -> bool:
        import requests

        headers = {"Authorization": f"Bearer {token}", "Content-Profile": "media"}
        url = f"{self.stack.ledger_url}/rpc/counts"
        return requests.post(url, json={}, headers=headers, timeout=10).ok

    def allow_keys(self, *pairs):
        """These pairs belong to the user of this test, and no others."""
        document = json.loads(self._before)
        actions = [f"{what}:{bucket}" for what in ("Read", "Write", "List")
                   for bucket in ("media", "media-derived")]  # fmt: skip
        credentials = [{"accessKey": access, "secretKey": secret} for access, secret in pairs]
        if pairs:
            user = {"name": self.corner.name, "credentials": credentials, "actions": actions}
            document["identities"].append(user)
        write_private(self._identities, json.dumps(document))
        os.kill(self.stack.servers["object-store"].pid, signal.SIGHUP)

    def opens(self, pair) -> bool:
        from minio import Minio
        from minio.error import S3Error

        client = Minio(
            endpoint=self.stack.s3_endpoint, access_key=pair[0], secret_key=pair[1], secure=False,
            region="us-east-1",
        )  # fmt: skip
        try:
            return client.bucket_exists(bucket_name="media")
        except S3Error:
            return False

    def keep(self, **values):
        """New values in the kv secret, beside the others."""
        self.corner.client.secrets.kv.v2.patch(
            path=self.corner.name, mount_point="secret", secret=values
        )

    def until(self, ready):
        self.stack.servers["postgrest"].wait_ready(ready)


def jwk(key: bytes) -> dict[str, str]:
    return {"kty": "oct", "alg": "HS256", "k": base64.urlsafe_b64encode(key).decode().rstrip("=")}


@pytest.fixture
def ground(stack):
    ground = Ground(stack, Corner(stack))
    yield ground
    ground.allow_keys()
    ground.ledger_keys, ground.withdrawn = [], ""
    ground.tell_postgrest()


@pytest.fixture
def streams(ground, stack, tmp_path):
    """(with an identity, with stored keys), both logged in by a secret id in a file."""
    corner, settings = ground.corner, stack.settings()
    pair, key = ("rotating-1", uuid.uuid4().hex), uuid.uuid4().bytes * 2
    ground.allow_keys(pair)
    ground.ledger_keys = [jwk(key)]
    corner.post(
        f"identity/oidc/key/{corner.name}", algorithm="RS256",
        allowed_client_ids=[vault.WORKLOAD], verification_ttl="1h",
    )  # fmt: skip
    corner.post(
        f"identity/oidc/role/{corner.name}", key=corner.name, client_id=vault.WORKLOAD, ttl="1h",
        template='{"role": "media_writer"}',
    )  # fmt: skip
    ground.tell_postgrest()
    corner.write(
        object_store_access_key=pair[0], object_store_secret_key=pair[1],
        ledger_token=ground.ledger_token(key),
    )  # fmt: skip
    fields = corner.approle()
    file = tmp_path / "secret-id"
    file.write_text(fields.pop("secret_id"))
    login = corner.settings(**fields, secret_id_file=str(file))
    ground.until(lambda: ground.opens(pair) and ground.accepts(ground.ledger_token(key)))
    identity = WorkloadIdentity(login, settings.object_store)
    started = [
        MediaStream("identity", settings, identity, tmp_path).start(),
        MediaStream("stored", settings, StoredCredentials(login), tmp_path).start(),
    ]
    yield started
    for stream in started:
        stream.end()


@pytest.fixture
def users():
    return Users(media="kafka-word-1")


@pytest.fixture
def events(ground, streams, stack, users):
    """A stream of events with the stored credentials, through (`events.front`)."""
    from kafka.admin import KafkaAdminClient, NewTopic

    topic = ground.corner.name
    admin = KafkaAdminClient(bootstrap_servers=stack.kafka_bootstrap)
    admin.create_topics([NewTopic(name=topic, num_partitions=1, replication_factor=1)])
    admin.close()
    ground.keep(kafka_password="kafka-word-1")
    with BrokerFront(stack.kafka_bootstrap, users=users) as front:
        settings = KafkaSettings(
            bootstrap_servers=front.bootstrap, security_protocol="SASL_PLAINTEXT",
            sasl_username="media", unbatched=True, request_timeout_seconds=5,
        )  # fmt: skip
        stream = EventStream(
            settings, StoredCredentials(streams[1].source.session.api.settings), topic
        )
        stream.front = front
        yield stream.start()
        stream.end()


def rotate_vault_login(ground, streams, file):
    """A new secret id, the old one destroyed, every token revoked."""
    corner = ground.corner
    accessors = corner.client.auth.approle.list_secret_id_accessors(corner.name)["data"]["keys"]
    file.write_text(corner.secret_id())
    for accessor in accessors:
        corner.client.auth.approle.destroy_secret_id_accessor(corner.name, accessor)
    tokens = [stream.source.session._login.token for stream in streams]
    for token in tokens:
        corner.client.auth.token.revoke(token)
    return tokens


def rotate_store_keys(ground, old, new):
    """Both valid for a while; the old pair is gone at the end."""
    ground.allow_keys(old, new)
    ground.until(lambda: ground.opens(new))
    ground.keep(object_store_access_key=new[0], object_store_secret_key=new[1])
    ground.allow_keys(new)
    ground.until(lambda: not ground.opens(old))


def rotate_ledger_key(ground, new: bytes):
    """The new key is known before anybody signs with it; then the old one is no longer."""
    (old,) = ground.ledger_keys
    ground.ledger_keys = [old, jwk(new)]
    ground.tell_postgrest()
    token = ground.ledger_token(new)
    ground.until(lambda: ground.accepts(token))
    ground.keep(ledger_token=token)
    ground.ledger_keys = [jwk(new)]
    ground.tell_postgrest()


def rotate_identity_key(ground, token: str):
    """Vault signs with the key that PostgREST knows already; then the former one is withdrawn,
    which Vault itself does when `verification_ttl` is over."""
    ground.tell_postgrest()
    ground.corner.post(f"identity/oidc/key/{ground.corner.name}/rotate")
    ground.withdrawn = jwt.get_unverified_header(token)["kid"]
    ground.tell_postgrest()
    ground.until(lambda: not ground.accepts(token))


def rotate_kafka_password(ground, events, users, new: str):
    """The old one is refused from now on, and every connection has to log in anew."""
    ground.keep(kafka_password=new)
    users.set_password("media", new)
    events.front.drop_connections()


def test_everything_is_rotated_during_a_stream(ground, streams, events, users, stack, tmp_path):
    identity, stored = streams
    pids = {name: server.pid for name, server in stack.servers.items()}
    for stream in (*streams, events):
        stream.further()

    revoked = rotate_vault_login(ground, streams, tmp_path / "secret-id")
    old_keys = stored.source.object_store_keys()
    rotate_store_keys(
        ground, (old_keys.access_key, old_keys.secret_key), ("rotating-2", uuid.uuid4().hex)
    )
    stored.further()
    assert stored.source.object_store_keys().access_key == "rotating-2"

    old_token = stored.source.secret("ledger_token")
    rotate_ledger_key(ground, uuid.uuid4().bytes * 2)
    ground.until(lambda: not ground.accepts(old_token))
    stored.further()
    assert stored.source.secret("ledger_token") != old_token

    old_identity = identity.source.secret("ledger_token")
    rotate_identity_key(ground, old_identity)
    identity.further()
    assert identity.source.secret("ledger_token") != old_identity

    temporary = identity.source.object_store_keys()
    identity.source.refused("object_store_access_key", temporary.access_key)
    identity.further()
    assert identity.source.object_store_keys().access_key != temporary.access_key

    assert events.source.secret("kafka_password") == "kafka-word-1"
    rotate_kafka_password(ground, events, users, "kafka-word-2")
    events.further()
    assert users.refusals, "the password that was held was tried, and was no longer good"
    assert events.source.secret("kafka_password") == "kafka-word-2"

    for stream in (*streams, events):
        stream.end()
        assert stream.failure is None
        assert stream.source.session._login.token not in revoked
    assert set(events.sent) == set(events.read)
    assert sum(stream.done for stream in streams) >= 6 * PORTION
    assert {name: server.pid for name, server in stack.servers.items()} == pids


def test_a_running_exporter_takes_the_next_kafka_password(ground, users, stack, tmp_path):
    """A process as it is deployed: it logs in to Vault by itself, and nobody tells it anything."""
    import requests

    corner = ground.corner
    corner.write(kafka_password="kafka-word-1", ledger_token=stack.ledger_token,
                 object_store_access_key="x", object_store_secret_key="x")  # fmt: skip
    fields = corner.approle()
    file = tmp_path / "secret-id"
    file.write_text(fields["secret_id"])
    with BrokerFront(stack.kafka_bootstrap, users=users) as front:
        given = {
            "KAFKA__BOOTSTRAP_SERVERS": front.bootstrap,
            "KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "KAFKA__SASL_USERNAME": "media",
            "VAULT__MODE": "stored",
            "VAULT__PATH": corner.name,
            "VAULT__ROLE_ID": fields["role_id"],
            "VAULT__SECRET_ID_FILE": str(file),
            "TELEMETRY__SCRAPE_DEADLINE_SECONDS": "20",
        }
        changes = {f"MEDIA_PIPELINE_{name}": value for name, value in given.items()}
        environment = {**stack.environment(), **changes}
        with running_exporter(stack, environment) as (process, address):

            def reads_the_event_log():
                told = requests.get(address, timeout=60).text
                return 'media_pipeline_dependency_up{dependency="event_log"} 1.0' in told

            assert reads_the_event_log()
            before = len(users.logins)
            ground.keep(kafka_password="kafka-word-2")
            users.set_password("media", "kafka-word-2")
            assert not users.refusals
            assert reads_the_event_log()
            assert users.refusals, "the password that was held was tried first"
            assert len(users.logins) > before
            assert process.poll() is None
