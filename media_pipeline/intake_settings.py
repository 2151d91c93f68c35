"""Settings of the intake: how messages become runs, and who works on them. See settings.py."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class BatchSettings(BaseModel):
    """How the sensor turns a backlog into runs."""

    target_run_seconds: float = Field(
        60,
        description="a batch is sized to take about this long: a crash repeats at most this much",
    )
    assumed_seconds_per_asset: float = Field(
        0.1, description="cost of one media asset before any run was observed"
    )
    min_keys: int = Field(25, description="below this a run's own start (2-3 s) dominates")
    max_keys: int = Field(
        500, description="bounds memory, event batches and the blast radius of a crash"
    )
    max_messages_per_tick: int = Field(5000, description="bounds the memory of one tick")
    max_in_flight_runs: int = Field(
        8,
        description="with more unfinished runs a tick takes no messages: backlog stays in Kafka",
    )
    tick_interval_seconds: int = Field(2, description="pause between two ticks of a sensor")
    tick_deadline_seconds: float = Field(20, description="a tick reads Kafka no longer than this")
    straggler_interval_seconds: int = Field(
        30, description="pause between two looks for media assets that no run works on"
    )
    straggler_grace_seconds: float = Field(
        300,
        description="without news for this long and without a run: launched again; longer than a"
        " run's retry takes to come",
    )
    relay_linger_seconds: float = Field(
        4.5,
        description="while runs are under way the outbox relay keeps looking this long; the"
        " daemon starts ticks every 5 s at most",
    )
    outbox_relay: Literal["sensor", "process", "elsewhere"] = Field(
        "sensor",
        description="who publishes the outbox: Dagster's daemon, or `media-pipeline relay`, which"
        " waits for no tick and goes on while the daemon is away; elsewhere: another"
        " installation on the same ledger does",
    )
    max_invalid_ratio: float = Field(
        0.5,
        description="a tick with more invalid messages stops the sensor: a bad producer",
    )
    min_messages_for_ratio: int = Field(20, description="the ratio means nothing below this many")


class CanarySettings(BaseModel):
    """A candidate: a second code location of the same Dagster, with another image or model."""

    share: int = Field(
        0,
        ge=0,
        le=100,
        description="of 100 equal shares of media assets, how many are left to the candidate; the"
        " same in both code locations; 0: there is none, and what it left is taken back",
    )
    candidate: bool = Field(
        False, description="this code location is the candidate: it works on the share alone"
    )
