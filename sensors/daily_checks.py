"""`daily_checks_job` and its schedule: the runbook's daily checks without anybody remembering.

The same checks as `media-pipeline check daily`. A finding that is wrong fails the run, so that
`run_failures_sensor` tells on-call like of any other failed run.
"""

# No postponed annotations: Dagster reads the real ones of decorated functions.

from collections.abc import Callable, Mapping

import dagster as dg

from media_pipeline.domain.dead_letters import DeadLetterStore
from media_pipeline.domain.operations import OperationsLedger
from media_pipeline.domain.ports import EventSource, MetadataStore, ObjectStore
from media_pipeline.errors import SystemicError
from media_pipeline.health.daily import DailyReport, DailySources, daily_report
from media_pipeline.settings import Settings
from media_pipeline.telemetry.figures import DeviceFigures
from sensors.cursor import media_positions

NAME = "daily_checks_job"


def build_daily_checks_job(
    settings: Settings, devices: Callable[[], Mapping[str, DeviceFigures]]
) -> dg.JobDefinition:
    """One op that asks everybody; its metadata is the table of findings."""

    @dg.op(description="The runbook's daily checks; fails when a finding is wrong.")
    def daily_checks(
        context: dg.OpExecutionContext,
        event_source: dg.ResourceParam[EventSource],
        metadata_store: dg.ResourceParam[MetadataStore],
        object_store: dg.ResourceParam[ObjectStore],
        operations_ledger: dg.ResourceParam[OperationsLedger],
        dead_letter_store: dg.ResourceParam[DeadLetterStore],
    ) -> None:
        topic = settings.kafka.ingested_topic
        sources = DailySources(
            event_source=event_source,
            metadata_store=metadata_store,
            object_store=object_store,
            operations=operations_ledger,
            dead_letters=dead_letter_store,
            positions=lambda: media_positions(context.instance, topic),
            devices=devices,
        )
        report = daily_report(sources, settings)
        context.add_output_metadata(
            {
                "level": dg.MetadataValue.text(report.level),
                "findings": dg.MetadataValue.table(_records(report), _SCHEMA),
            }
        )
        for finding in report.findings:
            context.log.info(
                "%s: %s, %s: %s", finding.level, finding.check, finding.subject, finding.figure
            )
        require_nothing_wrong(report)

    @dg.job(
        name=NAME,
        description="Lag, counts, dead letters, GPUs, dependencies, against what is usual.",
        tags={"dagster/max_retries": "0"},  # tomorrow's run asks again
        executor_def=dg.in_process_executor,
    )
    def job() -> None:
        daily_checks()

    return job


def build_daily_checks_schedule(settings: Settings, job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Once a day, running from the start."""
    return dg.ScheduleDefinition(
        name="daily_checks_schedule",
        job=job,
        cron_schedule=settings.daily.cron,
        execution_timezone=settings.daily.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="The runbook's daily checks.",
    )


def require_nothing_wrong(report: DailyReport) -> None:
    """SystemicError `daily_check_failed` that names what is wrong and the first remedy."""
    wrong = [one for one in report.findings if one.level == "fail"]
    if wrong:
        said = "; ".join(f"{one.check}, {one.subject}: {one.figure}" for one in wrong[:5])
        raise SystemicError(
            f"{len(wrong)} daily checks failed: {said}.",
            remedy=wrong[0].remedy or "`media-pipeline check daily` shows them all.",
            code="daily_check_failed",
        )


_SCHEMA = dg.TableSchema(
    columns=[dg.TableColumn(name) for name in ("level", "check", "subject", "figure", "expected")]
)


def _records(report: DailyReport) -> list[dg.TableRecord]:
    return [
        dg.TableRecord(
            {
                "level": one.level,
                "check": one.check,
                "subject": one.subject,
                "figure": one.figure,
                "expected": one.expected,
            }
        )
        for one in report.findings
    ]
