"""What an object store's refusals are taken for."""

import pytest

from media_pipeline.errors import SystemicError
from media_pipeline.settings import Settings
from resources.doctor.object_store import check_buckets


class RefusalError(Exception):
    def __init__(self, code: str) -> None:
        self.code = code


class Store:
    """Refuses with these codes, one after another, and then lets everything through."""

    def __init__(self, *codes: str) -> None:
        self.codes = list(codes)

    def require_readable(self, bucket: str, absent_key: str) -> None:
        if self.codes:
            refusal = SystemicError("refused.", remedy="-", code="credentials_refused")
            raise refusal from RefusalError(self.codes.pop(0))

    def round_trip(self, object_key: str, data: bytes) -> None:
        self.require_readable("", object_key)


@pytest.mark.parametrize(
    ("codes", "found"),
    [
        (["SignatureDoesNotMatch", "AccessDenied"], "denied_by_policy"),
        (["SignatureDoesNotMatch", "SignatureDoesNotMatch"], "keys_wrong"),
        (["SignatureDoesNotMatch"], ""),
        (["AccessDenied"], "denied_by_policy"),
    ],
)
def test_keys_are_wrong_when_a_second_question_says_so_too(codes, found):
    settings = Settings.model_validate({"object_store": {"allowed_buckets": ["media"]}})
    (first, second) = check_buckets(settings, Store(*codes))
    assert (first.code, second.code) == (found, "")
