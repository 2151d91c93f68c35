"""A candidate from its begin to its end, on real servers: two code locations, one ledger."""

import uuid
import warnings
from collections import Counter
from dataclasses import dataclass, field

import dagster as dg
import pytest
from kafka.admin import KafkaAdminClient, NewTopic

from media_pipeline.batch_tags import CANARY_TAG
from media_pipeline.cli.producer import announce, upload
from media_pipeline.cli.world import World
from media_pipeline.definitions import build_defs
from media_pipeline.domain.identity import in_share
from media_pipeline.domain.outcome import Code, Verdict
from media_pipeline.domain.ports import AssetResult, OutgoingEvent
from media_pipeline.jobs import ENRICH_MEDIA_JOB
from media_pipeline.settings import settings_of
from sensors import gate, media_events, stragglers

SHARE = 50


class Healthy:
    def probe(self): ...


@dataclass
class Mine:
    """The recovery store, blind for media assets of other tests on the same ledger."""

    store: object
    names: list[str] = field(default_factory=list)

    def waiting(self, *arguments):
        return [one for one in self.store.waiting(*arguments) if one.asset_id in self.names]

    def __getattr__(self, name):
        return getattr(self.store, name)


class Deployment:
    """One Dagster, its two code locations, and a topic of its own."""

    def __init__(self, stack, instance, environment: pytest.MonkeyPatch):
        topic = f"canary-{uuid.uuid4().hex[:8]}"
        admin = KafkaAdminClient(bootstrap_servers=stack.kafka_bootstrap)
        admin.create_topics([NewTopic(name=topic, num_partitions=1, replication_factor=1)])
        admin.close()
        self._variables = {
            **stack.environment(),
            "MEDIA_PIPELINE_KAFKA__INGESTED_TOPIC": topic,
            "MEDIA_PIPELINE_WORKLOADS": '["text"]',
        }
        self.instance, self.cursor, self._prefix = instance, None, topic
        self._environment = environment
        self.world = World(settings_of(self.variables(0)))
        self.recovery = Mine(self.world.recovery_store)

    def variables(self, share: int, *, candidate: bool = False) -> dict[str, str]:
        own = {"MEDIA_PIPELINE_CANARY__SHARE": str(share)}
        if candidate:  # what is judged: a limit that is part of each text's fingerprint
            own |= {
                "MEDIA_PIPELINE_CANARY__CANDIDATE": "true",
                "MEDIA_PIPELINE_PROCESSING__TEXT_MAX_PAGES": "1999",
            }
        return {**self._variables, **own}

    def ingest(self, *wanted: bool) -> list[str]:
        """One media asset for each: in the share or not."""
        names: list[str] = []
        for in_it in wanted:
            name = next(
                one for number in range(1000)
                if (one := f"{self._prefix}-{len(self.recovery.names) + len(names)}-{number}")
                and in_share(one, SHARE) is in_it
            )  # fmt: skip
            names.append(name)
        self.recovery.names += names
        made = [upload(self.world, one, "a.txt", one.encode(), "text/plain") for one in names]
        announce(self.world, made)
        return names

    def read_topic(self, share: int) -> list[str]:
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor)
        result = media_events.evaluate(
            context, self.world.event_source, self.world.metadata_store, self.recovery,
            gate.Gate(), settings_of(self.variables(share)),
        )  # fmt: skip
        self.cursor = result.cursor or self.cursor
        return self._execute(result, self.variables(share))

    def look(self, share: int, *, candidate: bool) -> list[str]:
        variables = self.variables(share, candidate=candidate)
        context = dg.build_sensor_context(instance=self.instance)
        result = stragglers.evaluate(context, self.recovery, Healthy(), settings_of(variables))
        return self._execute(result, variables)

    def _execute(self, result, variables: dict[str, str]) -> list[str]:
        """Run what a tick asked for, in the code location that asked."""
        for name, value in variables.items():
            self._environment.setenv(name, value)
        for name in ("CANARY__CANDIDATE", "PROCESSING__TEXT_MAX_PAGES"):
            if f"MEDIA_PIPELINE_{name}" not in variables:
                self._environment.delenv(f"MEDIA_PIPELINE_{name}", raising=False)
        job = build_defs().resolve_job_def(ENRICH_MEDIA_JOB)
        runs = []
        for request in getattr(result, "run_requests", None) or []:
            tags = {**job.tags, **request.tags}
            done = job.execute_in_process(
                instance=self.instance, tags=tags, run_config=request.run_config
            )
            assert done.success
            runs.append(done.run_id)
        return runs

    def texts(self, names) -> dict[str, str]:
        """media asset -> fingerprint of its text, which must be well."""
        rows = self.world.metadata_store.derivatives(list(names))
        assert {row.code for row in rows} <= {Code.OK}
        return {row.asset_id: row.fingerprint for row in rows}

    def events(self) -> Counter:
        topic = self.world.settings.kafka.enriched_topic
        return Counter(
            one.key.decode()
            for one in self.world.metadata_store.unpublished(10_000)
            if one.topic == topic and one.key.decode() in self.recovery.names
        )


@pytest.fixture
def deployment(stack, monkeypatch):
    with dg.DagsterInstance.ephemeral() as instance:
        yield Deployment(stack, instance, monkeypatch)


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        yield


def test_a_candidate_begins_is_judged_and_goes(deployment):
    before = deployment.ingest(True, False)
    deployment.read_topic(0)
    assert set(deployment.texts(before)) == set(before), "nobody is a candidate's yet"

    theirs, ours = deployment.ingest(True, False)
    (main_run,) = deployment.read_topic(SHARE)
    assert set(deployment.texts([theirs, ours])) == {ours}
    assert deployment.look(SHARE, candidate=False) == [], "main leaves it alone"
    (canary_run,) = deployment.look(SHARE, candidate=True)
    found = deployment.texts([theirs, ours])
    assert found[theirs] != found[ours], "fingerprints tell which of them made it"
    assert CANARY_TAG in deployment.instance.get_run_by_id(canary_run).tags
    assert CANARY_TAG not in deployment.instance.get_run_by_id(main_run).tags

    left, other = deployment.ingest(True, False)
    deployment.read_topic(SHARE)
    assert set(deployment.texts([left, other])) == {other}
    deployment.look(0, candidate=False)  # promoted or dropped, before it came to the last one
    assert deployment.look(0, candidate=True) == []
    after = deployment.texts([left, other])
    assert after[left] == after[other] == found[ours]
    assert deployment.events() == dict.fromkeys(deployment.recovery.names, 1)


def test_of_two_that_take_it_at_once_the_ledger_keeps_one(deployment):
    (name,) = deployment.ingest(True)
    deployment.read_topic(SHARE)
    ledger, runs = deployment.world.metadata_store, [str(uuid.uuid4()) for _ in range(2)]
    claims = [ledger.claim(run, run, [name])[0] for run in runs]
    assert claims[0].fence < claims[1].fence
    assert deployment.look(0, candidate=False) == [], "claimed: not held any more"
    said = [
        ledger.record(run, [_complete(claim)], "test")[0]
        for run, claim in zip(runs, claims, strict=True)
    ]
    assert [(one.accepted, one.reason) for one in said] == [(False, "stale_fence"), (True, "ok")]
    assert deployment.events() == {name: 1}


def _complete(claim) -> AssetResult:
    asset = claim.asset
    event = OutgoingEvent(
        str(uuid.uuid4()), "media.asset_enriched.v1", asset.asset_id.encode(), b"{}"
    )
    done = Verdict("complete")
    return AssetResult(
        asset.asset_id, asset.content_version, claim.fence, done, None, 5, (), event, None
    )


def test_dagster_loads_both_and_backfills_go_to_what_runs(tmp_path):
    from dagster._core.remote_origin import InProcessCodeLocationOrigin
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget

    origins = []
    for location, candidate in (("media_pipeline_canary", True), ("media_pipeline", False)):
        file = tmp_path / f"{location}_code.py"
        file.write_text(
            "from media_pipeline.definitions import build_defs\n"
            "from media_pipeline.settings import CanarySettings, Settings\n"
            f"defs = build_defs(Settings(canary=CanarySettings(share=10, candidate={candidate})))\n"
        )
        target = LoadableTargetOrigin(python_file=str(file), working_directory=str(tmp_path))
        origins.append(InProcessCodeLocationOrigin(target, location_name=location))
    with (
        dg.instance_for_test(temp_dir=str(tmp_path)) as instance,
        WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget(origins)) as process,
    ):
        request = process.create_request_context()
        sensors = {}
        for location in request.code_locations:
            (repository,) = location.get_repositories().values()
            sensors[location.name] = {one.name for one in repository.get_sensors()}
            schedules = {one.name for one in repository.get_schedules()}
            assert bool(schedules) is (location.name == "media_pipeline")
        with pytest.warns(UserWarning, match="multiple code locations"):
            graph = request.asset_graph
        nodes = {
            key.path[0]: graph.get(key).resolve_to_singular_repo_scoped_node()
            for key in graph.get_all_asset_keys()
        }
    assert sensors["media_pipeline_canary"] == {"canary_sensor"}
    assert {"media_events_sensor", "stragglers_sensor"} < sensors["media_pipeline"]
    assert "canary_sensor" not in sensors["media_pipeline"]
    assert set(nodes) == {"text", "thumbnails", "ocr", "moderation", "enrichment"}
    assert {one.repository_handle.location_name for one in nodes.values()} == {"media_pipeline"}
