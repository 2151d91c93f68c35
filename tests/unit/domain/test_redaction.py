"""What has the form of a secret does not get out; what has not is left alone."""

import pytest

from media_pipeline.domain.redaction import HIDDEN, redact, redact_fields

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoibWVkaWFfd3JpdGVyIn0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    "text",
    [
        f"refused token {JWT} of the ledger",
        "could not connect to postgresql://media:hunter2-secret@db:5432/media",
        "Authorization: Bearer hunter2-secret",
        "{'Authorization': 'Bearer hunter2-secret'}",
        "X-Vault-Token: hvs.hunter2-secretAAAAAAAAAAAAAAAA",
        'sasl_password="hunter2-secret", mechanism=PLAIN',
        "MEDIA_PIPELINE_OBJECT_STORE__SECRET_KEY=hunter2-secret",
        "https://s3/x?X-Amz-Signature=hunter2-secret&X-Amz-Date=1",
        "posting to https://hooks.slack.com/services/T0/B0/hunter2-secret failed",
    ],
)
def test_secrets_are_hidden(text):
    said = redact(text)
    assert "hunter2-secret" not in said
    assert JWT not in said
    assert HIDDEN in said


@pytest.mark.parametrize(
    "text",
    [
        "check the ledger token in Vault, its expiry and PostgREST's JWT secret.",
        "http://127.0.0.1:3000 did not answer rpc/claim_batch: ConnectionError.",
        "s3://media/uploads/report.pdf is 12 bytes, not 14",
        "media.ingested.v1:0@12-30 of asset-000017",
    ],
)
def test_the_rest_is_left_alone(text):
    assert redact(text) == text


def test_fields_are_hidden_by_what_they_hold_and_by_their_names():
    fields = {
        "address": "postgresql://media:hunter2@db/media", "sasl_plain_password": "open-sesame",
        "token": b"open-sesame", "password": None, "asset_id": "a", "offset": 7,
    }  # fmt: skip
    assert redact_fields(fields) == {
        "address": f"postgresql://{HIDDEN}@db/media", "sasl_plain_password": HIDDEN,
        "token": HIDDEN, "password": None, "asset_id": "a", "offset": 7,
    }  # fmt: skip
