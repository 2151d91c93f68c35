"""A canary's report as one HTML page that needs nothing else and runs nothing.

Every value is escaped; there is no script, and the page's own policy forbids one. Pictures are
`data:` URIs of what was blurred before: the page has nothing else of the media.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from media_pipeline.models.canary_report import CanaryReport, Subject
from media_pipeline.models.comparison import SIDES, Example, LabelSummary
from media_pipeline.processing.moderation import VERDICTS

_CSS = """
:root { color-scheme: light dark; --line: #8884; --current: #6b7a90; --candidate: #d9822b; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.answer { font-size: 1.15rem; border-left: .3rem solid var(--candidate); padding-left: .8rem; }
.answer.same { border-color: #3a8f5c; }
.quiet { opacity: .75; }
table { border-collapse: collapse; margin: .6rem 0; }
th, td { border: 1px solid var(--line); padding: .25rem .6rem; text-align: left; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
td.moved { background: #d9822b33; font-weight: 600; }
code { font-size: .85em; overflow-wrap: anywhere; }
svg { display: block; width: 100%; max-width: 36rem; height: 11rem; }
svg text { font: 9px system-ui, sans-serif; fill: currentColor; }
.current { fill: var(--current); } .candidate { fill: var(--candidate); }
.key::before { content: ""; display: inline-block; width: .8em; height: .8em; margin-right: .4em; }
.key.k-current::before { background: var(--current); }
.key.k-candidate::before { background: var(--candidate); }
.examples { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1rem; }
figure { margin: 0; border: 1px solid var(--line); border-radius: .4rem; overflow: hidden; }
figure img, figure .none { display: block; width: 100%; height: 8rem; object-fit: cover; }
figcaption { padding: .5rem .7rem; font-size: .88rem; overflow-wrap: anywhere; }
"""  # noqa: E501
_KEY = (
    '<p><span class="key k-current">current</span> &#160;'
    ' <span class="key k-candidate">candidate</span></p>'
)
_CHART_HEIGHT, _CHART_WIDTH, _BASE = 90, 400, 100
_MS = 1000


def render_page(report: CanaryReport) -> str:
    """The whole page."""
    digest = base64.b64encode(hashlib.sha256(_CSS.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none';"
        " form-action 'none'"
    )
    title = f"Canary: {report.candidate.manifest.edition} beside {report.current.manifest.edition}"
    body = "\n".join(
        (
            f"<h1>{escape(title)}</h1>",
            _answer(report),
            _sample(report),
            _models(report),
            _moves(report),
            "<h2>Scores per label</h2>",
            _KEY,
            *(_label(label) for label in report.summary.labels),
            _latency(report),
            _failures(report),
            _examples(report.summary.worst),
        )
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(title)}</title>\n<style>{_CSS}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _answer(report: CanaryReport) -> str:
    found = report.summary
    if found.flips:
        text = (
            f"{found.flips} of {found.compared} verdicts change: {found.stricter} become stricter,"
            f" {found.laxer} become laxer."
        )
    else:
        text = f"No verdict changes in {found.compared} media assets."
    failed = sum(map(len, found.failed["candidate"].values()))
    if failed:
        text += f" {failed} more could not be judged by the candidate alone."
    same = "" if found.regressions else " same"
    return f'<p class="answer{same}">{escape(text)}</p>'


def _sample(report: CanaryReport) -> str:
    sample = report.sample
    frames = (
        "Both models judged the same frames, byte for byte."
        if report.same_frames
        else "The models want their frames made differently: frames were made for each as its"
        " manifest says, and media assets are compared."
    )
    recorded = ""
    if report.summary.recorded_differs:
        recorded = (
            f" In {report.summary.recorded_differs} of them the ledger has another verdict than"
            " the current model gives now: they were judged by another version (see"
            " media-pipeline stale --kind moderation) or in another precision."
        )
    text = (
        f"{report.made_at}. Asked for {sample.asked}, drawn {sample.drawn}, compared"
        f" {report.summary.compared}. Drawn: {sample.method}. {frames}{recorded}"
    )
    return f'<p class="quiet">{escape(text)}</p>'


def _models(report: CanaryReport) -> str:
    facts = [_facts(one) for one in (report.current, report.candidate)]
    lines = [
        [escape(name), *(f"<code>{escape(one[name])}</code>" for one in facts)] for name in facts[0]
    ]
    return "<h2>Models</h2>" + _table(("", *SIDES), lines)


def _facts(subject: Subject) -> dict[str, str]:
    one = subject.manifest
    jpeg = ", JPEG round trip" if one.jpeg_round_trip else ""
    return {
        "model": one.edition,
        "sha256 of the file": one.sha256,
        "fingerprint": subject.fingerprint,
        "labels": ", ".join(one.labels),
        "thresholds": json.dumps(one.thresholds),
        "frames": f"resize {one.resize}, crop {one.crop}{jpeg}, {one.channels},"
        f" mean {list(one.mean)}, deviation {list(one.deviation)}",
        "source": "; ".join(f"{name}: {text}" for name, text in one.source.items()),
    }


def _moves(report: CanaryReport) -> str:
    moves = report.summary.moves
    head = "".join(f"<th>{name}</th>" for name in VERDICTS)
    rows = ""
    for before in VERDICTS:
        cells = ""
        for after in VERDICTS:
            count = moves.get(f"{before}>{after}", 0)
            moved = " moved" if count and before != after else ""
            cells += f'<td class="number{moved}">{count}</td>'
        rows += f"<tr><th>{before}</th>{cells}</tr>"
    return (
        "<h2>Verdicts</h2><p>Rows: what the current model says. Columns: what the candidate"
        f" says.</p><table><tr><th></th>{head}</tr>{rows}</table>"
    )


def _label(label: LabelSummary) -> str:
    spread = label.difference
    facts = (
        f"difference: median {_number(spread.p50)}, 95 % {_number(spread.p95)}, 99 %"
        f" {_number(spread.p99)}, largest {_number(spread.highest)}"
        if spread.count
        else f"only the {'current' if 'current' in label.histogram else 'candidate'} model has it"
    )
    if label.flips:
        facts += "; alone it changes " + ", ".join(
            f"{move.replace('>', ' to ')} {count} times" for move, count in label.flips.items()
        )
    return f"<h3>{escape(label.label)}</h3>{_chart(label)}<p>{escape(facts)}</p>"


def _chart(label: LabelSummary) -> str:
    """Bars by score, on a root scale: a few among thousands must still be seen."""
    highest = max((count for bins in label.histogram.values() for count in bins), default=0) or 1
    marks = []
    for place, side in enumerate(SIDES):
        for index, count in enumerate(bins := label.histogram.get(side, ())):
            wide = _CHART_WIDTH / len(bins)
            tall = _CHART_HEIGHT * (count / highest) ** 0.5
            low, high = index / len(bins), (index + 1) / len(bins)
            marks.append(
                f'<rect class="{side}" x="{index * wide + place * wide * 0.45 + 1:.1f}"'
                f' y="{_BASE - tall:.1f}" width="{wide * 0.42:.1f}" height="{tall:.1f}">'
                f"<title>{side}, {low:.2f} to {high:.2f}: {count}</title></rect>"
            )
    ticks = "".join(
        f'<text x="{share * _CHART_WIDTH:.0f}" y="{_BASE + 12}"'
        f' text-anchor="{anchor}">{share:g}</text>'
        for share, anchor in ((0, "start"), (0.25, "middle"), (0.5, "middle"),
                              (0.75, "middle"), (1, "end"))
    )  # fmt: skip
    ticks += f'<text x="{_CHART_WIDTH}" y="8" text-anchor="end">highest bar: {highest}</text>'
    return (
        f'<svg viewBox="0 0 {_CHART_WIDTH} {_BASE + 16}" role="img" preserveAspectRatio="none">'
        f"<title>media assets by score, root scale</title>{''.join(marks)}{ticks}</svg>"
    )


def _latency(report: CanaryReport) -> str:
    lines = []
    for side in SIDES:
        spread = report.summary.latency[side]
        ran_on = ", ".join(
            f"{name} ({count})" for name, count in report.summary.ran_on[side].items()
        )
        times = (spread.p50, spread.p95, spread.p99, spread.highest)
        lines.append([side, *(_milliseconds(one) for one in times), escape(ran_on)])
    return "<h2>Milliseconds per image, side by side on the same workers</h2>" + _table(
        ("", "median", "95 %", "99 %", "longest", "on (media assets)"), lines
    )


def _failures(report: CanaryReport) -> str:
    found = report.summary
    groups: list[tuple[str, Mapping[str, Sequence[str]]]] = [
        ("by the candidate alone", found.failed["candidate"]),
        ("by the current model alone", found.failed["current"]),
        ("by neither", found.left_out),
    ]
    lines = [
        [escape(what), escape(code), str(len(ids)), escape(", ".join(ids))]
        for what, codes in groups
        for code, ids in codes.items()
    ]
    if not lines:
        return ""
    head = ("", "outcome", "media assets", "which")
    return "<h2>Could not be judged</h2>" + _table(head, lines)


def _examples(worst: Sequence[Example]) -> str:
    if not worst:
        return "<h2>Worst examples</h2><p>None: every score is the same.</p>"
    figures = "".join(_figure(one) for one in worst)
    return (
        "<h2>Worst examples</h2><p>Farthest apart first. Pictures were blurred before they were"
        f' put here.</p><div class="examples">{figures}</div>'
    )


def _figure(one: Example) -> str:
    picture = '<div class="none"></div>'
    if one.picture is not None:
        data = base64.b64encode(one.picture).decode()
        picture = f'<img alt="blurred" src="data:image/png;base64,{data}">'
    verdicts = (
        f"{one.current.verdict} &#8594; {one.candidate.verdict}"
        if one.flipped
        else f"{one.current.verdict}, unchanged"
    )
    scores = "<br>".join(
        f"{escape(label)}: {_number(one.current.scores.get(label))} &#8594;"
        f" {_number(one.candidate.scores.get(label))}"
        for label in sorted({**one.current.scores, **one.candidate.scores})
    )
    return (
        f"<figure>{picture}<figcaption><strong>{verdicts}</strong><br>"
        f"<code>{escape(one.asset_id)}</code><br>{scores}</figcaption></figure>"
    )


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Cells are HTML already."""
    rows = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in line)}</tr>" for line in lines)
    return f"<table><tr>{''.join(f'<th>{escape(one)}</th>' for one in head)}</tr>{rows}</table>"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def _milliseconds(seconds: float | None) -> str:
    return "none" if seconds is None else f"{seconds * _MS:.1f}"
