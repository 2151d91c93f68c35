"""`ocr`: text of scans, of pages with a garbled text layer, and of images with lettering.

Artifacts: `ocr.json.gz`, a gzip of
    {"schema": 1, "languages": [str], "left_out": pages beyond the limit,
     "pages": [{"number": 1.., "width": px, "height": px, "dpi": int or null, "text": str,
                "confidence": 0..100 or null, "rotation": degrees,
                "words": [[x, y, width, height, confidence, text], ...]}]}
and `ocr.txt`, UTF-8. For a media asset whose message asks for other languages, the names carry
them (`ocr.deu.json.gz`): the same bytes may be read in several.
"""

# No postponed annotations: Dagster reads the real ones of decorated functions.

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from media_pipeline.assets.batch import Batch, claim_batch
from media_pipeline.assets.checks import (
    ObservedOutcomes,
    check_ocr,
    check_specs,
    freshness_policy,
)
from media_pipeline.assets.derived_media import GROUP, OBJECT_STORE_IO_MANAGER
from media_pipeline.assets.recovery import deferred, guarded, pause_of
from media_pipeline.assets.source_media import SourceMedia
from media_pipeline.assets.staged_workload import Part, StageSpec, process_staged_batch
from media_pipeline.assets.workload import Pool
from media_pipeline.domain.media_asset import MediaAsset
from media_pipeline.domain.outcome import (
    Artifact,
    Code,
    Derivatives,
    Outcomes,
    ProcessorResult,
)
from media_pipeline.domain.ports import Claim, MetadataStore, ObjectStore
from media_pipeline.domain.recovery import RecoveryStore
from media_pipeline.errors import PermanentError
from media_pipeline.fingerprints import workload_fingerprint
from media_pipeline.partitions import media_assets_partitions
from media_pipeline.processing.json_artifact import packed_json, unpacked_json
from media_pipeline.processing.processors import params_from
from media_pipeline.processing.tesseract_program import tesseract_program
from media_pipeline.settings import Settings
from media_pipeline.telemetry.spans import Recorder

KIND, PREPARE = "ocr", "page_images"
#: A group may be read four times over: pages that read badly are turned.
_ORIENTATIONS = 4
_SLACK_SECONDS = 15.0


class OcrWork:
    """OCR as a staged workload. `text`: how the text of each media asset of the batch ended."""

    def __init__(self, settings: Settings, text: Derivatives, store: ObjectStore) -> None:
        processing = settings.processing
        self._defaults = processing.ocr_languages
        self._timeout = processing.ocr_timeout_seconds
        self._program = (processing.ocr_command, processing.ocr_tessdata)
        self._text = text
        self._store = store
        self.spec = StageSpec(
            kind=KIND,
            fingerprint=workload_fingerprint(KIND, settings),
            prepare_kind=PREPARE,
            prepare_params=params_from(PREPARE, processing.model_dump()),
            prepare_deadline_seconds=processing.ocr_render_deadline_seconds,
            read_deadline_seconds=_ORIENTATIONS * self._timeout + _SLACK_SECONDS,
            lane="execute",
            group_size=processing.ocr_pages_per_process,
        )

    def plan(self, asset: MediaAsset) -> ProcessorResult | Mapping[str, object]:
        """Pages come from the text layer's classes; without them there is nothing to go by."""
        row = self._text.get(asset.asset_id)
        if row is None or row.content_version != asset.content_version:
            return ProcessorResult(Code.TRANSIENT, "text was not materialized")
        if not row.code.handled:
            return ProcessorResult(row.code, f"text: {row.message}")
        pages = row.attributes.get("ocr_pages")
        return {"pages": list(pages) if isinstance(pages, list | tuple) else []}

    def parts(self, asset: MediaAsset, prepared: ProcessorResult) -> Sequence[Part]:
        """One part per page picture."""
        pages = prepared.attributes["pages"]
        assert isinstance(pages, list)  # noqa: S101  # made by page_images
        languages = self._languages(asset)
        return [
            Part(asset.asset_id, index, artifact.data, languages, page)
            for index, (artifact, page) in enumerate(zip(prepared.artifacts, pages, strict=True))
        ]

    def known(self, part: Part) -> Any | None:
        """The same picture in the same languages was read before: another upload, a replay."""
        try:
            return unpacked_json(self._store.get(self._cache_key(part)))
        except PermanentError:
            return None

    def request(self, parts: Sequence[Part]) -> tuple[bytes, Mapping[str, object]]:
        """All pictures in one; tesseract reads them in one process."""
        command, tessdata = tesseract_program(*self._program)
        return b"".join(part.data for part in parts), {
            "command": command,
            "tessdata": tessdata,
            "languages": list(parts[0].group or ()),  # type: ignore[call-overload]
            "timeout_seconds": self._timeout,
            "sizes": [len(part.data) for part in parts],
        }

    def answers(self, parts: Sequence[Part], result: ProcessorResult) -> Sequence[Any]:
        """Pages as read; each is kept for the next time its picture comes."""
        found: list[Any] = unpacked_json(result.artifacts[0].data)["pages"]
        for part, page in zip(parts, found, strict=True):
            self._store.put(self._cache_key(part), packed_json(page), "application/gzip")
        return found

    def merge(
        self, asset: MediaAsset, prepared: ProcessorResult, answers: Sequence[Any]
    ) -> ProcessorResult:
        """One document of all pages."""
        facts = prepared.attributes["pages"]
        assert isinstance(facts, list)  # noqa: S101  # made by page_images
        shown = ("number", "width", "height", "dpi")
        pages = [
            {**{name: fact[name] for name in shown}, **page}
            for fact, page in zip(facts, answers, strict=True)
        ]
        text = "\n\n".join(page["text"] for page in pages)
        words = sum(len(page["words"]) for page in pages)
        if not words and "dpi" in facts[0] and facts[0]["dpi"] is None:
            return ProcessorResult(Code.NOT_APPLICABLE, "no lettering was found in the picture")
        languages = self._languages(asset)
        left_out = prepared.attributes.get("left_out", 0)
        document = {
            "schema": 1, "languages": list(languages), "left_out": left_out, "pages": pages,
        }  # fmt: skip
        name = "ocr" if languages == self._defaults else f"ocr.{'+'.join(languages)}"
        confidences = [page["confidence"] for page in pages if page["confidence"] is not None]
        attributes: dict[str, object] = {
            "pages": len(pages),
            "words": words,
            "characters": len(text),
            "languages": "+".join(languages),
            "left_out": left_out,
        }
        if confidences:
            attributes["confidence"] = round(sum(confidences) / len(confidences), 1)
        return ProcessorResult(
            Code.OK,
            artifacts=(
                Artifact(f"{name}.json.gz", "application/gzip", packed_json(document)),
                Artifact(
                    f"{name}.txt", "text/plain; charset=utf-8", text.encode("utf-8", "replace")
                ),
            ),
            attributes=attributes,
        )

    def refuse(self, parts: Sequence[Part], result: ProcessorResult) -> None:
        """Whatever happens to one page, the next may be read."""

    def _languages(self, asset: MediaAsset) -> tuple[str, ...]:
        return asset.ocr_languages or self._defaults

    def _cache_key(self, part: Part) -> str:
        languages = "+".join(part.group or ())  # type: ignore[arg-type]
        return f"cache/ocr/{self.spec.fingerprint}/{languages}/{part.facts['digest']}.json.gz"


def build_ocr_asset(settings: Settings) -> dg.AssetsDefinition:
    """The Dagster asset `ocr`; downstream of `text`, whose page classes it follows."""
    fetch_threads = settings.object_store.transfer_threads

    @dg.asset(
        name=KIND,
        description=(
            "Text of scans, garbled pages and images with lettering, with words, boxes and"
            " confidences. Pages with a text layer of their own are left alone"
            " (`not_applicable`); a missing language pack is `unsupported` and named."
        ),
        partitions_def=media_assets_partitions,
        backfill_policy=dg.BackfillPolicy.multi_run(settings.batch.max_keys),
        io_manager_key=OBJECT_STORE_IO_MANAGER,
        group_name=GROUP,
        kinds={"python", "s3"},
        tags={"workload": KIND},
        owners=["team:media-processing"],
        code_version=workload_fingerprint(KIND, settings),
        pool=KIND,
        check_specs=check_specs(KIND),
        freshness_policy=freshness_policy(settings.checks),
    )
    def ocr(  # noqa: PLR0917  # resources, given by name
        context: dg.AssetExecutionContext,
        text: Derivatives,
        traces: dg.ResourceParam[Recorder],  # noqa: ARG001  # records while the step lives
        batch: dg.ResourceParam[Batch],
        metadata_store: dg.ResourceParam[MetadataStore],
        object_store: dg.ResourceParam[ObjectStore],
        recovery_store: dg.ResourceParam[RecoveryStore],
        source_media: dg.ResourceParam[SourceMedia],
        worker_pool: dg.ResourceParam[Pool],
    ) -> Iterator[dg.Output[Outcomes] | dg.AssetCheckResult]:
        def outcomes() -> Outcomes:
            pause = pause_of(context, recovery_store, KIND)
            claims = claim_batch(context, batch, metadata_store)
            if pause is not None:
                return deferred(KIND, claims, pause)
            work = OcrWork(settings, text, object_store)

            def process(some: Sequence[Claim]) -> Outcomes:
                return process_staged_batch(
                    work,
                    some,
                    fetch=source_media.fetch,
                    pool=worker_pool,
                    fetch_threads=fetch_threads,
                )

            attempts = settings.processing.max_attempts
            run_id = context.run.run_id
            return guarded(work.spec, run_id, claims, recovery_store, attempts, process)

        observed = ObservedOutcomes(outcomes())
        yield dg.Output(observed)  # the IO manager works through it before this goes on
        yield check_ocr(observed, settings.checks)

    return ocr
