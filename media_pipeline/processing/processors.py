"""The processors by kind: version, parameters, libraries, and how to run each on a file.

Parameters are JSON values, because they cross a process border and go into the
fingerprint. Adding a kind means adding one entry to `PROCESSORS`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import metadata

from media_pipeline.domain.identity import fingerprint
from media_pipeline.domain.outcome import ProcessorResult
from media_pipeline.processing import text, thumbnails
from media_pipeline.processing.media_type import MediaType, sniff

Params = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Processor:
    """`settings`: parameter -> name of the processing setting that it comes from.

    `packages`: libraries whose version changes what comes out. `preload`: modules that a
    worker imports before its first file.
    """

    version: str
    run: Callable[[bytes, MediaType, Params], ProcessorResult]
    settings: Mapping[str, str]
    packages: tuple[str, ...]
    preload: tuple[str, ...]


def _text(data: bytes, media_type: MediaType, params: Params) -> ProcessorResult:
    limits = text.TextLimits(
        max_pages=_integer(params["max_pages"]), max_characters=_integer(params["max_characters"])
    )
    return text.extract_text(data, media_type, limits)


def _thumbnails(data: bytes, media_type: MediaType, params: Params) -> ProcessorResult:
    sizes = params["sizes"]
    if not isinstance(sizes, list | tuple):
        raise TypeError(f"sizes is a {type(sizes).__name__}, not a list of pixels")
    limits = thumbnails.ThumbnailLimits(
        sizes=tuple(_integer(size) for size in sizes),
        max_pixels=_integer(params["max_pixels"]),
        format=str(params["format"]),
        quality=_integer(params["quality"]),
    )
    return thumbnails.make_thumbnails(data, media_type, limits)


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
        packages=("pillow", "pillow-heif", "pymupdf"),
        preload=(
            "pymupdf", "PIL.Image", "PIL.ImageOps", "PIL.ImageCms", "PIL.JpegImagePlugin",
            "PIL.PngImagePlugin", "PIL.GifImagePlugin", "PIL.WebPImagePlugin",
            "PIL.TiffImagePlugin", "PIL.BmpImagePlugin", "PIL.AvifImagePlugin", "pillow_heif",
        ),
    ),
}  # fmt: skip


def process(kind: str, data: bytes, declared_type: str | None, params: Params) -> ProcessorResult:
    """Run one processor on one file; `seconds` is measured here."""
    started = time.perf_counter()
    result = PROCESSORS[kind].run(data, sniff(data, declared_type), params)
    return replace(result, seconds=time.perf_counter() - started)


def params_from(kind: str, settings: Mapping[str, object]) -> dict[str, object]:
    """The processor's parameters out of the processing settings."""
    found = {name: settings[source] for name, source in PROCESSORS[kind].settings.items()}
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in found.items()
    }


def processor_fingerprint(kind: str, params: Params) -> str:
    """Names everything that decides the output but the input: see `identity.fingerprint`."""
    processor = PROCESSORS[kind]
    libraries = {name: metadata.version(name) for name in processor.packages}
    return fingerprint(kind, processor.version, {"params": dict(params), "libraries": libraries})


def _integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is not a whole number")
    return value
