"""The sniffed type wins; the declared one is noted."""

import io
import zipfile

import pytest

from media_pipeline.processing.media_type import sniff


def archive(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name in ("[Content_Types].xml", *names):
            made.writestr(name, "x" * 9000)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "declared", "mime", "family", "agrees"),
    [
        (b"%PDF-1.4", None, "application/pdf", "pdf", True),
        (b"\n\n%PDF-1.4", "image/png", "application/pdf", "pdf", False),
        (b"\xff\xd8\xff\xe0", "image/jpg", "image/jpeg", "image", True),
        (b"RIFF0000WEBP", None, "image/webp", "image", True),
        (b"RIFF0000WAVE\x00", None, "application/octet-stream", "other", True),
        (b"GIF89a", "application/octet-stream", "image/gif", "image", True),
        (b"a,b\n1,2", "text/csv; charset=utf-8", "text/csv", "text", True),
        (b"a,b\n1,2", None, "text/plain", "text", True),
        (b'{"a": 1}', None, "application/json", "text", True),
        (b"{not json", None, "text/plain", "text", True),
        (b"<!DOCTYPE html><p>x", "text/plain", "text/html", "html", False),
        ("grün".encode("utf-16"), None, "text/plain", "text", True),
        (b"\x00\x01\x02\x03", None, "application/octet-stream", "other", True),
        (archive("word/document.xml"), None,
         "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "office", True),
        (b"PK\x03\x04....word/document.xml", None, "application/zip", "other", True),
        (b"PK\x03\x04....", None, "application/zip", "other", True),
        (b"", None, "application/octet-stream", "other", True),
        (bytes(range(128, 256)) * 20, None, "application/octet-stream", "other", True),
    ],
)  # fmt: skip
def test_sniff(data, declared, mime, family, agrees):
    found = sniff(data, declared)
    assert (found.mime, found.family, found.agrees) == (mime, family, agrees)
