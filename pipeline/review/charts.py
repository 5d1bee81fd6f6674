"""Counts over time as SVG: every look a dot, partial ones hollow, intervals alone under half seen, unusable ones a cross.

The baseline's band lies behind them.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from html import escape

from pipeline.activity.records import Alert, Estimate
from pipeline.activity.wording import quoted

WIDTH, HEIGHT = 760, 250
LEFT, RIGHT, TOP, BOTTOM = 46, 16, 18, 34

STYLE = (
    ".chart{background:#fff;font-family:system-ui,Helvetica,Arial,sans-serif}"
    ".grid{stroke:#ddd;fill:none}.tick{font-size:11px;fill:#666}.band{fill:#0b6e8a;fill-opacity:.13}"
    ".expected{fill:none;stroke:#0b6e8a;stroke-dasharray:4 3}.guard{fill:#888;fill-opacity:.1}.look circle{fill:#222}"
    ".partial circle{fill:#fff;stroke:#222;stroke-width:1.6}.whisker{stroke:#222;stroke-width:1.2;opacity:.55}"
    ".unseen path{stroke:#777;stroke-width:1.8;fill:none}.alert{fill:none;stroke:#c00;stroke-width:2}"
    ".alert-word{font-size:13px;font-weight:700;fill:#c00}"
)
"""The report's colours, for a chart that stands in a file of its own: without them a viewer paints every shape black."""


def standalone(chart: str) -> str:
    """A chart as a file of its own, with `STYLE` inside."""
    return chart.replace("<title>", f"<style>{STYLE}</style><title>", 1)


def count_chart(series: Sequence[Estimate], alerts: Sequence[Alert], title: str) -> str:
    """One zone and class over time.

    Args:
        series: every look, ordered by time.
        alerts: every look judged by its own past (`judge(..., which="all")`); the last one carries the verdict.
        title: for the accessible name.

    Returns:
        An SVG element that takes its colours from CSS custom properties, with fallbacks.
    """
    if not series:
        return ""
    start, end = series[0].time, series[-1].time
    span = max((end - start).total_seconds(), 86400.0)
    tops = [e.high or 0 for e in series] + [a.band_high or 0 for a in alerts]
    top = _ceiling(max([1.0, *tops]))

    def x(time: datetime) -> float:
        return LEFT + 14 + (WIDTH - LEFT - RIGHT - 28) * (time - start).total_seconds() / span

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - min(value, top) / top)

    parts = [_axes(start, end, top, x, y)]
    judged = [a for a in alerts if a.band_high is not None and a.looks >= 5 and a.estimate.value is not None]
    if judged:
        upper = " ".join(f"{x(a.estimate.time):.1f},{y(a.band_high or 0):.1f}" for a in judged)
        lower = " ".join(f"{x(a.estimate.time):.1f},{y(a.band_low or 0):.1f}" for a in reversed(judged))
        parts.append(f'<polygon class="band" points="{upper} {lower}"/>')
        middle = " ".join(f"{x(a.estimate.time):.1f},{y(a.expected or 0):.1f}" for a in judged)
        parts.append(f'<polyline class="expected" points="{middle}"/>')
    guard = timedelta(days=alerts[-1].guard_days) if alerts else timedelta()
    if guard and alerts and alerts[-1].looks:
        edge = max(x(end - guard), LEFT)
        parts.append(f'<rect class="guard" x="{edge:.1f}" y="{TOP}" width="{x(end) - edge:.1f}" height="{HEIGHT - TOP - BOTTOM}"/>')
    parts += [_dot(e, x(e.time), y) for e in series]
    for a in alerts[-1:]:
        if a.raised and a.estimate.value is not None:
            parts.append(
                f'<circle class="alert" cx="{x(a.estimate.time):.1f}" cy="{y(a.estimate.value):.1f}" r="9"/>'
                f'<text class="alert-word" x="{x(a.estimate.time) - 14:.1f}" y="{y(a.estimate.value) + 4:.1f}" '
                f'text-anchor="end">{a.verdict} {quoted(a.estimate)}</text>'
            )
    desc = f"{len(series)} looks from {start:%Y-%m-%d} to {end:%Y-%m-%d}; largest value {max(e.value or 0 for e in series):.0f}."
    body = "".join(parts)
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" xmlns="http://www.w3.org/2000/svg">'
        f"<title>{escape(title)}</title><desc>{escape(desc)}</desc>{body}</svg>"
    )


def _dot(e: Estimate, x: float, y: object) -> str:
    assert callable(y)
    tip = f"<title>{e.time:%Y-%m-%d}: {_words(e)}</title>"
    if e.value is None:
        base = HEIGHT - BOTTOM - 6
        return f'<g class="unseen">{tip}<path d="M{x - 4:.1f} {base - 4}l8 8m0 -8l-8 8"/></g>'
    kind = "partial" if e.exposure < 0.9 else "look"
    whisker = f'<path class="whisker" d="M{x:.1f} {y(e.low or 0):.1f}V{y(e.high or 0):.1f}"/>'
    point = "" if e.interval_only else f'<circle cx="{x:.1f}" cy="{y(e.value):.1f}" r="4"/>'
    return f'<g class="{kind}">{tip}{whisker}{point}</g>'


def _words(e: Estimate) -> str:
    if e.value is None:
        return escape(f"not observed, {e.not_observed}")
    number = quoted(e) if e.interval_only else f"{quoted(e)} ({e.low:.0f} to {e.high:.0f})"
    return f"{number}, {100 * e.exposure:.0f} % seen"


def _axes(start: datetime, end: datetime, top: float, x: object, y: object) -> str:
    assert callable(x)
    assert callable(y)
    out = []
    for k in range(5):
        value = top * k / 4
        out.append(f'<path class="grid" d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}"/>')
        out.append(f'<text class="tick" x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    steps = 1 if end == start else min(6, max(1, (end - start).days))
    for k in range(steps + 1 if end > start else 1):
        time = start + (end - start) * (k / steps)
        anchor = "end" if k == steps and end > start else "middle"  # the last date would run off the edge
        out.append(f'<text class="tick" x="{x(time):.1f}" y="{HEIGHT - 12}" text-anchor="{anchor}">{time:%d %b %Y}</text>')
    return "".join(out)


def _ceiling(value: float) -> float:
    """The next of 4, 8, 12, 20, 40, ... so that quarters of the axis are whole numbers."""
    step = 4.0
    for factor in (1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 300, 500, 1000, 2000, 5000, 10000, 50000):
        if value * 1.05 <= step * factor:
            return step * factor
    return value * 1.1
