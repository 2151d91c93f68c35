"""Settings: a typo must not pass, a secret must not show."""

import pytest
from pydantic import ValidationError

from media_pipeline.settings import (
    BatchSettings,
    Settings,
    load_settings,
    settings_of,
    unknown_variables,
)


def test_the_environment_is_read_at_the_call(monkeypatch):
    monkeypatch.setenv("MEDIA_PIPELINE_BATCH__MAX_KEYS", "77")
    monkeypatch.setenv("MEDIA_PIPELINE_OBJECT_STORE__ALLOWED_BUCKETS", '["a", "b"]')
    settings = load_settings()
    assert settings.batch.max_keys == 77
    assert settings.object_store.allowed_buckets == ("a", "b")


def test_values_that_cannot_be_are_refused_by_name(monkeypatch):
    monkeypatch.setenv("MEDIA_PIPELINE_KAFKA__SECURITY_PROTOCOL", "TELNET")
    with pytest.raises(ValidationError, match="security_protocol"):
        load_settings()


def test_an_unknown_group_is_refused():
    with pytest.raises(ValidationError, match="kafak"):
        Settings(kafak={})


def test_other_settings_do_not_depend_on_this_process(monkeypatch):
    monkeypatch.setenv("MEDIA_PIPELINE_BATCH__MAX_KEYS", "77")
    assert settings_of({}).batch == BatchSettings()
    assert settings_of({"MEDIA_PIPELINE_BATCH__MIN_KEYS": "3"}).batch == BatchSettings(min_keys=3)


def test_no_secret_shows(monkeypatch):
    monkeypatch.setenv("MEDIA_PIPELINE_LEDGER__TOKEN", "sesame")
    settings = load_settings()
    assert "sesame" not in repr(settings)
    assert "sesame" not in settings.model_dump_json()


def test_every_setting_explains_itself_or_is_a_name():
    plain = {
        "sasl_mechanism", "sasl_username", "sasl_password", "ingested_topic", "enriched_topic",
        "dead_letter_topic", "access_key", "secret_key", "derived_bucket", "read_timeout_seconds",
        "token",
    }  # fmt: skip
    for group in Settings.model_fields.values():
        fields = getattr(group.annotation, "model_fields", {})
        unexplained = {name for name, one in fields.items() if not one.description}
        assert unexplained <= plain


@pytest.mark.parametrize(
    ("name", "unknown"),
    [
        ("MEDIA_PIPELINE_KAFKA__BOOTSTRAP_SERVERS", False),
        ("MEDIA_PIPELINE_SCALING__FLOOR__TEXT", False),
        ("MEDIA_PIPELINE_DAGSTER_URL", False),
        ("MEDIA_PIPELINE_NAMESPACE", False),
        ("PATH", False),
        ("MEDIA_PIPELINE_KAFKA__BOOTSTRAPS", True),
        ("MEDIA_PIPELINE_KAFAK__BOOTSTRAP_SERVERS", True),
        ("MEDIA_PIPELINE_DAGSTER_URL__X", True),
        ("MEDIA_PIPELINE_KAFKA", False),
    ],
)
def test_variables_that_set_nothing_are_found(name, unknown, monkeypatch):
    assert unknown_variables([name]) == ([name] if unknown else [])
    monkeypatch.setenv(name, "{}")
    assert (name in unknown_variables()) is unknown
