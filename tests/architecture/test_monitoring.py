"""Files below deploy/monitoring: rules have pages, pages have rules, and the tools accept them."""

import re
import subprocess
from pathlib import Path

import promql_parser
import pytest
import yaml

from media_pipeline.telemetry.metrics import series_names
from tests.monitoring_programs import program
from tests.promql import selectors

ROOT = Path(__file__).resolve().parents[2]
MONITORING = ROOT / "deploy" / "monitoring"
RULES_FILE = MONITORING / "prometheus" / "media-processing.rules.yml"
TESTS_FILE = MONITORING / "prometheus" / "tests" / "media-processing.test.yml"
GROUPS = yaml.safe_load(RULES_FILE.read_text())["groups"]
RULES = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
PAGES = sorted((ROOT / "deploy" / "runbooks").glob("*.md"))
#: The line that makes a page the page of an alert; pages without it are procedures.
ALERT_LINE = re.compile(r"^Alert: `(\w+)`", re.MULTILINE)


def name(rule):
    return rule.get("alert") or rule["record"]


@pytest.mark.parametrize("rule", ALERTS, ids=name)
def test_an_alert_has_a_page_that_says_so(rule):
    page = ROOT / rule["annotations"]["runbook"]
    assert page in PAGES
    assert ALERT_LINE.findall(page.read_text()) == [rule["alert"]]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_of_an_alert_has_its_rule_and_all_that_operators_need(page):
    text = page.read_text()
    for alert in ALERT_LINE.findall(text):
        rules = [rule for rule in ALERTS if rule["alert"] == alert]
        assert rules
        assert all(ROOT / rule["annotations"]["runbook"] == page for rule in rules)
        assert "## Is it a false alarm?" in text
        for rule in rules:
            assert re.search(rf"(?i)severity: .*{rule['labels']['severity']}", text)
    for link in re.findall(r"\]\(([\w-]+\.md)\)", text):
        assert (page.parent / link).is_file(), link


@pytest.mark.parametrize("page", [p for p in PAGES if ALERT_LINE.search(p.read_text())])
def test_a_page_names_series_that_exist(page):
    prefixes = ("media_", "processor_")
    known = {*series_names(), *(metric.name for metric in series_names().values())}
    for word in set(re.findall(r"`(\w+)[`{]", page.read_text())):
        if word.startswith(prefixes) and not word.endswith("_sensor"):
            assert word in known, word


@pytest.mark.parametrize("rule", RULES, ids=name)
def test_a_rule_asks_for_series_and_labels_that_exist(rule):
    known = series_names()
    for series, labels in selectors(promql_parser.parse(rule["expr"])):
        if series not in RECORDED | {"up"}:
            assert labels <= set(known[series].labels), series


def test_every_alert_is_tested_firing_and_not_firing():
    firing, quiet = set(), set()
    for test in yaml.safe_load(TESTS_FILE.read_text())["tests"]:
        for check in test.get("promql_expr_test", ()):
            (alert,) = re.findall(r'alertname="(\w+)"', check["expr"])
            (firing if check["exp_samples"] else quiet).add(alert)
    assert firing == quiet == {rule["alert"] for rule in ALERTS}


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_rules_and_configuration(tmp_path):
    promtool = program("promtool")
    run(promtool, "check", "rules", RULES_FILE)
    for file in (RULES_FILE, MONITORING / "prometheus" / "prometheus.yml"):
        (tmp_path / file.name).write_text(file.read_text())
    (tmp_path / "exporter-token").write_text("t")
    run(promtool, "check", "config", tmp_path / "prometheus.yml")


def test_alerts_fire_and_do_not_fire():
    assert "SUCCESS" in run(program("promtool"), "test", "rules", TESTS_FILE)


def test_the_rules_tests_notice_a_threshold_that_moved(tmp_path):
    """The tests above test something: the same with other rules fails."""
    (tmp_path / "tests").mkdir()
    document = yaml.safe_load(TESTS_FILE.read_text())
    document["tests"] = [one for one in document["tests"] if "MediaOutboxStuck" in str(one)]
    (tmp_path / "tests" / TESTS_FILE.name).write_text(yaml.safe_dump(document))
    moved = RULES_FILE.read_text().replace("> 600", "> 60000")
    (tmp_path / RULES_FILE.name).write_text(moved)
    command = [program("promtool"), "test", "rules", tmp_path / "tests" / TESTS_FILE.name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "MediaOutboxStuck" in done.stdout + done.stderr


def test_alerts_reach_the_on_call_channel(tmp_path):
    amtool = program("amtool")
    file = MONITORING / "alertmanager" / "alertmanager.yml"
    run(amtool, "check-config", file)
    document = yaml.safe_load(file.read_text())
    (receiver,) = document["receivers"]
    assert receiver["slack_configs"][0]["channel"] == "#oncall-media-processing"
    for rule in ALERTS:
        labels = [f"alertname={rule['alert']}", f"severity={rule['labels']['severity']}"]
        route = run(amtool, "config", "routes", "test", f"--config.file={file}", *labels)
        assert route.strip() == receiver["name"]


def test_the_other_files_are_yaml_and_name_each_other():
    folder = MONITORING / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources/prometheus.yaml").read_text())["datasources"]
    assert source["type"] == "prometheus"
    (provider,) = yaml.safe_load((folder / "dashboards/media.yaml").read_text())["providers"]
    assert provider["type"] == "file"
    collector = yaml.safe_load((MONITORING / "otel-collector/otel-collector.yaml").read_text())
    for pipeline in collector["service"]["pipelines"].values():
        for kind in ("receivers", "processors", "exporters"):
            assert set(pipeline[kind]) <= set(collector[kind])
    prometheus = yaml.safe_load((MONITORING / "prometheus/prometheus.yml").read_text())
    assert prometheus["rule_files"] == [RULES_FILE.name]
    assert [one["job_name"] for one in prometheus["scrape_configs"]] == ["media-pipeline"]
