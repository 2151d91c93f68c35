"""Moderation scores: a model over frames, in batches, on the CPU or a GPU, by one code path.

Artifact `scores.json.gz`: {"labels": [...], "scores": [[per label], ...]} in the order of the
frames. Attributes: `device`, `dtype`, `model_sha256`, `forward_seconds` (of all frames, without
loading the model).
"""

from __future__ import annotations

import time
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
#: Scores beyond 0..1 by no more than this are rounding.
_ROUNDING = 1e-3
VERDICTS: tuple[Verdict, ...] = ("allow", "review", "block")


@dataclass(frozen=True, slots=True)
class ModelUse:
    """Which model on what. `device`: auto, cpu or cuda. `dtype`: auto, float32 or bfloat16.
    The model sees (value - mean) / deviation per channel, in the order of `channels`: bgr or
    rgb. `side`: frames are side x side x 3 bytes, BGR."""

    path: str
    sha256: str
    labels: tuple[str, ...]
    mean: tuple[float, ...]
    side: int
    device: str = "auto"
    dtype: str = "auto"
    batch: int = 8
    channels: str = "bgr"
    deviation: tuple[float, ...] = (1.0, 1.0, 1.0)


def score_frames(frames: bytes, use: ModelUse) -> ProcessorResult:
    """Scores of frames that lie one after the other.

    Outcomes: `ok`; `transient` when the model file is not the one meant (it is fetched again
    by the next run); `unsupported` when the device that is asked for is not there; `invalid`
    when a score is no number of 0..1: no threshold holds for it, and it must never pass as allowed.
    """
    import torch

    from media_pipeline.processing.graph_model import ModelFileError

    if use.device == "cuda" and not torch.cuda.is_available():
        found = "finds none" if torch.version.cuda else "is a build without it (image VARIANT=gpu)"
        return ProcessorResult(Code.UNSUPPORTED, f"a CUDA device is asked for, torch {found}")
    try:
        model, device, dtype = _loaded(use)
    except (ModelFileError, OSError) as error:
        return ProcessorResult(Code.TRANSIENT, f"the model cannot be loaded: {error}")
    size = use.side * use.side * 3
    count = len(frames) // size
    pixels = torch.frombuffer(bytearray(frames), dtype=torch.uint8) if count else None
    scores: list[list[float]] = []
    started = time.perf_counter()
    if pixels is not None:
        pictures = pixels.view(count, use.side, use.side, 3)
        scores = _run(model, pictures, use, device, dtype)
    seconds = time.perf_counter() - started
    if any(len(row) != len(use.labels) for row in scores):
        return ProcessorResult(Code.INVALID, f"the model gives {len(scores[0])} scores per frame")
    if not all(-_ROUNDING <= score <= 1 + _ROUNDING for row in scores for score in row):
        return ProcessorResult(Code.INVALID, "the model's scores are not numbers of 0..1")
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
            "forward_seconds": round(seconds, 6),
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
        found = max(found, reached, key=VERDICTS.index)
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
    dtype = _chosen_dtype(use.dtype, on_gpu=cuda)
    model = load_model(Path(use.path), use.sha256)
    # On a GPU weights stay float32 and autocast lowers what bears it; on a CPU autocast would
    # convert the weights again for every batch.
    moved: Any = model.to(device, torch.float32 if cuda else dtype)
    return moved.to(memory_format=torch.channels_last), device, dtype


def _run(model: Any, pictures: Any, use: ModelUse, device: Any, dtype: Any) -> list[list[float]]:
    import torch

    scores: list[list[float]] = []
    at, batch = 0, use.batch
    lowered = device.type == "cuda" and dtype != torch.float32
    autocast = torch.autocast(device.type, dtype=dtype, enabled=lowered)
    with torch.inference_mode(), autocast:
        while at < len(pictures):
            part = pictures[at : at + batch]
            try:
                scores += _batch_scores(model, part, use, device, dtype)
            except torch.cuda.OutOfMemoryError:
                if batch == 1:
                    raise
                batch //= 2
                torch.cuda.empty_cache()
                continue
            at += len(part)
    return scores


def _batch_scores(
    model: Any, part: Any, use: ModelUse, device: Any, dtype: Any
) -> list[list[float]]:
    import torch

    if device.type == "cuda":
        part = part.pin_memory().to(device, non_blocking=True)
    values = part.permute(0, 3, 1, 2).float()
    if use.channels == "rgb":
        values = values.flip(1)
    mean, deviation = (
        torch.tensor(one, device=device).view(1, 3, 1, 1) for one in (use.mean, use.deviation)
    )
    values = values.sub_(mean).div_(deviation)
    wanted = torch.float32 if device.type == "cuda" else dtype  # autocast lowers on a GPU
    values = values.to(wanted, memory_format=torch.channels_last)
    found: list[list[float]] = model(values).float().cpu().tolist()
    return found


def _chosen_dtype(asked: str, *, on_gpu: bool) -> Any:
    """`auto`: bfloat16 where the hardware multiplies it itself, float32 elsewhere.

    Never float16: pictures go in as 0..255, and sums of those leave its range.
    """
    import torch

    if asked != "auto":
        return torch.float32 if asked == "float32" else torch.bfloat16
    native = (
        torch.cuda.is_bf16_supported(including_emulation=False) if on_gpu else _cpu_has_bfloat16()
    )
    return torch.bfloat16 if native else torch.float32


def _cpu_has_bfloat16() -> bool:
    """Only where the CPU multiplies it itself: elsewhere it is slower than float32."""
    flags = Path("/proc/cpuinfo").read_text()
    return "avx512_bf16" in flags or "amx_bf16" in flags
