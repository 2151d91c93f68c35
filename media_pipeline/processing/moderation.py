"""Moderation scores: a model over frames, in batches, on the CPU or a GPU, by one code path.

Artifact `scores.json.gz`: {"labels": [...], "scores": [[per label], ...]} in the order of the
frames. Attributes: `device`, `dtype`, `model_sha256`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from media_pipeline.domain.outcome import Artifact, Code, ProcessorResult
from media_pipeline.processing.json_artifact import packed_json

VERSION = "1"
SCORES = "scores.json.gz"
Verdict = Literal["allow", "review", "block"]
_ORDER: tuple[Verdict, ...] = ("allow", "review", "block")


@dataclass(frozen=True, slots=True)
class ModelUse:
    """Which model on what. `device`: auto, cpu or cuda. `dtype`: auto, float32 or bfloat16.
    `mean`: per channel, BGR. `side`: frames are side x side x 3 bytes."""

    path: str
    sha256: str
    labels: tuple[str, ...]
    mean: tuple[float, ...]
    side: int
    device: str = "auto"
    dtype: str = "auto"
    batch: int = 8


def score_frames(frames: bytes, use: ModelUse) -> ProcessorResult:
    """Scores of frames that lie one after the other.

    Outcomes: `ok`; `transient` when the model file is not the one meant (it is fetched again
    by the next run); `unsupported` when the device that is asked for is not there.
    """
    import torch

    from media_pipeline.processing.graph_model import ModelFileError

    if use.device == "cuda" and not torch.cuda.is_available():
        return ProcessorResult(Code.UNSUPPORTED, "a CUDA device is asked for, torch finds none")
    try:
        model, device, dtype = _loaded(use)
    except (ModelFileError, OSError) as error:
        return ProcessorResult(Code.TRANSIENT, f"the model cannot be loaded: {error}")
    size = use.side * use.side * 3
    count = len(frames) // size
    pixels = torch.frombuffer(bytearray(frames), dtype=torch.uint8) if count else None
    scores: list[list[float]] = []
    if pixels is not None:
        pictures = pixels.view(count, use.side, use.side, 3)
        scores = _run(model, pictures, use, device, dtype)
    return ProcessorResult(
        Code.OK,
        artifacts=(
            Artifact(
                SCORES,
                "application/gzip",
                packed_json({"labels": list(use.labels), "scores": scores}),
            ),
        ),
        attributes={
            "device": str(device),
            "dtype": str(dtype).removeprefix("torch."),
            "model_sha256": use.sha256,
        },
    )


def verdict_of(
    scores: Mapping[str, float], thresholds: Mapping[str, Mapping[str, float]]
) -> Verdict:
    """The strictest of all labels: at least `block`, at least `review`, else allow."""
    found: Verdict = "allow"
    for label, limits in thresholds.items():
        score = scores.get(label, 0.0)
        reached: Verdict = "allow"
        if score > limits["block"]:
            reached = "block"
        elif score >= limits["review"]:
            reached = "review"
        found = max(found, reached, key=_ORDER.index)
    return found


def worst_scores(labels: Sequence[str], scores: Sequence[Sequence[float]]) -> dict[str, float]:
    """Label -> its highest score over all frames, to four digits: what is kept and compared."""
    return {label: round(max(row[at] for row in scores), 4) for at, label in enumerate(labels)}


@lru_cache(maxsize=2)
def _loaded(use: ModelUse) -> tuple[Any, Any, Any]:
    """Model, device, dtype; kept for the worker's life (two, for a canary beside the current)."""
    import torch

    from media_pipeline.processing.graph_model import load_model

    cuda = use.device == "cuda" or (use.device == "auto" and torch.cuda.is_available())
    device = torch.device("cuda" if cuda else "cpu")
    if not cuda:
        torch.set_num_threads(1)  # workers are as many as there are CPUs
    half = cuda or (use.dtype == "auto" and _cpu_has_bfloat16())
    dtype = torch.bfloat16 if use.dtype == "bfloat16" or half else torch.float32
    if use.dtype == "float32":
        dtype = torch.float32
    model = load_model(Path(use.path), use.sha256)
    moved: Any = model.to(device, dtype)
    return moved.to(memory_format=torch.channels_last), device, dtype


def _run(model: Any, pictures: Any, use: ModelUse, device: Any, dtype: Any) -> list[list[float]]:
    import torch

    scores: list[list[float]] = []
    at, batch = 0, use.batch
    mean = torch.tensor(use.mean, device=device).view(1, 3, 1, 1)
    with torch.inference_mode():
        while at < len(pictures):
            part = pictures[at : at + batch]
            try:
                scores += _batch_scores(model, part, mean, device, dtype)
            except torch.cuda.OutOfMemoryError:
                if batch == 1:
                    raise
                batch //= 2
                torch.cuda.empty_cache()
                continue
            at += len(part)
    return scores


def _batch_scores(model: Any, part: Any, mean: Any, device: Any, dtype: Any) -> list[list[float]]:
    import torch

    if device.type == "cuda":
        part = part.pin_memory().to(device, non_blocking=True)
    values = (part.permute(0, 3, 1, 2).float() - mean).to(dtype, memory_format=torch.channels_last)
    found: list[list[float]] = model(values).float().cpu().tolist()
    return found


def _cpu_has_bfloat16() -> bool:
    """Only where the CPU multiplies it itself: elsewhere it is slower than float32."""
    flags = Path("/proc/cpuinfo").read_text()
    return "avx512_bf16" in flags or "amx_bf16" in flags
