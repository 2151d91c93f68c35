"""A real Prometheus over a real exporter, and its answers drawn."""

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from xml.sax.saxutils import escape

import requests

from media_pipeline.cli.dagster_process import dagster_environment
from media_pipeline.local_stack.ports import free_port
from media_pipeline.local_stack.process import ServerProcess
from tests.monitoring_programs import program

_WIDTH, _HEIGHT, _LINE = 640, 240, 16
_COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#7f7f7f")


def samples_of(exporter_address: str) -> list:
    """Everything that an exporter answers: name, labels and value of each sample."""
    from prometheus_client.parser import text_string_to_metric_families

    answer = requests.get(exporter_address, timeout=60)
    answer.raise_for_status()
    return [
        sample
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    ]


class Prometheus:
    """Asks one server."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ready(self) -> bool:
        try:
            return requests.get(f"{self.url}/-/ready", timeout=2).ok
        except requests.RequestException:
            return False

    def _data(self, path, **params):
        answer = requests.get(f"{self.url}/api/v1/{path}", params=params, timeout=30).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def series(self, expr: str) -> list[dict]:
        """Series of the last five minutes, one point a second: {metric, values}."""
        now = time.time()
        return self._data("query_range", query=expr, start=now - 300, end=now, step=1)["result"]

    def value(self, expr: str) -> float | None:
        found = self._data("query", query=expr)["result"]
        return float(found[0]["value"][1]) if found else None

    def table(self, expr: str, *labels: str) -> dict[tuple[str, ...], int]:
        """{values of these labels: value} of an instant query, without zeros."""
        return {
            tuple(one["metric"][name] for name in labels): int(float(one["value"][1]))
            for one in self._data("query", query=expr)["result"]
            if float(one["value"][1])
        }

    def rules(self) -> list[dict]:
        groups = self._data("rules")["groups"]
        return [rule for group in groups for rule in group["rules"]]


@contextmanager
def running_exporter(stack, environment=None):
    """Yields (process, address of /metrics); `environment` instead of the stack's own."""
    command = [sys.executable, "-W", "ignore", "-m", "media_pipeline.cli.main", "exporter"]
    process = subprocess.Popen(
        [*command, "--port", "0"],
        env={"PATH": "/usr/bin:/bin", **(environment or dagster_environment(stack))},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        address = process.stdout.readline().strip()
        assert address, "the exporter ended at its start"
        yield process, address
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def running_prometheus(folder, exporter_address: str, rules_file=None):
    """Scrapes the exporter every three seconds, evaluates the rules each second."""
    target = exporter_address.removeprefix("http://").removesuffix("/metrics")
    config = {
        "global": {
            # A busy machine's exporter may need more than a second.
            "scrape_interval": "3s", "scrape_timeout": "3s", "evaluation_interval": "1s",
        },
        "rule_files": [str(rules_file)] if rules_file else [],
        "scrape_configs": [
            {"job_name": "media-pipeline", "static_configs": [{"targets": [target]}]}
        ],
    }  # fmt: skip
    file, port = folder / "prometheus.yml", free_port()
    file.write_text(json.dumps(config))  # JSON is YAML
    command = [
        program("prometheus"), f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
    ]  # fmt: skip
    server = ServerProcess("prometheus", command, log_dir=folder)
    server.start()
    try:
        found = Prometheus(f"http://127.0.0.1:{port}")
        server.wait_ready(found.ready)
        yield found
    finally:
        server.stop()


def legend(template: str, labels: dict[str, str]) -> str:
    for name, value in labels.items():
        template = template.replace("{{" + name + "}}", value)
    return template


def picture(title: str, lines: dict[str, list[tuple[float, float]]]) -> str:
    """An SVG: one polyline per series, the highest value at the side, the legend below."""
    points = [point for line in lines.values() for point in line]
    first, last = min(p[0] for p in points), max(p[0] for p in points)
    top, bottom = max(p[1] for p in points), min(0.0, *(p[1] for p in points))
    across, up = (last - first) or 1.0, (top - bottom) or 1.0
    drawn = []
    for number, (name, line) in enumerate(sorted(lines.items())):
        colour = _COLOURS[number % len(_COLOURS)]
        places = " ".join(
            f"{(x - first) / across * _WIDTH:.1f},{(1 - (y - bottom) / up) * _HEIGHT:.1f}"
            for x, y in line
        )
        drawn.append(f'<polyline fill="none" stroke="{colour}" points="{places}"/>')
        place = _HEIGHT + _LINE * (number + 2)
        drawn.append(f'<text y="{place}" fill="{colour}" font-size="12">{escape(name)}</text>')
    height = _HEIGHT + _LINE * (len(lines) + 3)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-70 -30 {_WIDTH + 90} {height + 30}">'
        f'<text y="-10" font-size="14">{escape(title)}</text>'
        f'<text x="-66" y="10" font-size="11">{top:.4g}</text>'
        f'<text x="-66" y="{_HEIGHT}" font-size="11">{bottom:.4g}</text>'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#ccc"/>'
        f"{''.join(drawn)}</svg>\n"
    )
