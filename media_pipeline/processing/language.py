"""Which language a text is in: a guess by py3langid, kept behind this one module."""

from __future__ import annotations

from functools import cache
from itertools import islice
from typing import Any

#: Fewer letters say nothing; more than the sample change nothing.
_MIN_LETTERS = 20
_SAMPLE = 4000
_MIN_PROBABILITY = 0.5


def guess_language(text: str) -> dict[str, object] | None:
    """`{"code": ISO 639-1, "probability": 0..1}`, or None where the text does not tell."""
    sample = text[:_SAMPLE]
    letters = (letter for letter in sample if letter.isalpha())
    if len(list(islice(letters, _MIN_LETTERS))) < _MIN_LETTERS:
        return None
    code, probability = _identifier().classify(sample)
    if probability < _MIN_PROBABILITY:
        return None
    return {"code": str(code), "probability": round(float(probability), 4)}


@cache
def _identifier() -> Any:
    """The model: half a second and 40 MB, so workers load it before their first file."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def preload() -> None:
    """Load the model now."""
    _identifier()
