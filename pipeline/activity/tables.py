"""Counts from a plain table, and alerts as plain records: an analyst with a spreadsheet is a user."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from pipeline.activity.baseline import FAMILIES
from pipeline.activity.nb import Z90
from pipeline.activity.records import INTERVAL_ONLY_BELOW, NO_VALUE_BELOW, Alert, Estimate
from pipeline.config import TIMES
from pipeline.errors import TableError

REQUIRED = ("date", "site", "zone", "class", "value")
OPTIONAL = ("low", "high", "exposure", "estimator", "note", "zone_version", "lower_bound", "source", "ref")
"""``source`` and ``ref`` say where a number was published; they are carried in the table and not read."""

INTER_OBSERVER = 0.10
"""Standard deviation between two people counting one yard, relative (METHOD 8c.11; 8 against 6-7 cars, METHOD 0.8)."""

_LAYOUT = "The columns are date,site,zone,class,value[,low,high,exposure,estimator,note,zone_version,lower_bound]."


def read_counts(path: Path) -> list[Estimate]:
    """Read a table of counts.

    The first row names the columns. ``date`` is ISO 8601, a day or a time; a time without an offset is UTC. An empty ``value``
    is a look at which nothing could be counted, with the reason in ``note``; it is never a zero. A count by a person gets the
    inter-observer term of 10 % in its interval. Byte-order marks, CRLF and semicolons as separators are understood.

    Raises:
        TableError: names file, line and column.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror})", "Check the path.") from error
    except UnicodeDecodeError as error:
        raise TableError(f"{path}: is not UTF-8 text", "Save it as CSV in UTF-8.") from error
    return parse_counts(text, str(path))


def parse_counts(text: str, name: str) -> list[Estimate]:
    """As `read_counts`, of text that is already here; `name` stands in messages.

    Raises:
        TableError: names file, line and column.
    """
    first = text.lstrip("\r\n").split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=";" if ";" in first and "," not in first else ",")
    rows = _rows(reader, name)
    if not rows:
        raise TableError(f"{name}: is empty", _LAYOUT)
    header = _header(rows[0][1], name)
    out: list[Estimate] = []
    seen: dict[tuple[Any, ...], int] = {}
    for line, cells in rows[1:]:
        if len(cells) != len(header):
            raise TableError(
                f"{name}: line {line} has {len(cells)} cells, the header {len(header)}",
                "Mend or quote that line.",
            )
        estimate = _Row(name, line, dict(zip(header, cells, strict=True))).estimate()
        key = (*_key(estimate), estimate.time)
        if key in seen:
            raise TableError(
                f"{name}: line {line} repeats line {seen[key]} (same site, zone, class and time)",
                "Keep one of the two, or give them different times.",
            )
        seen[key] = line
        out.append(estimate)
    return out


def record(alert: Alert) -> dict[str, Any]:
    """One flat record of an alert; a number that does not exist is None."""
    estimate = alert.estimate
    return {
        "site": estimate.site,
        "zone": estimate.zone,
        "zone_version": estimate.zone_version,
        "class": estimate.cls,
        "unit": estimate.unit,
        "estimator": estimate.estimator,
        "date": estimate.time.isoformat(),
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "exposure": estimate.exposure,
        "not_observed": estimate.not_observed,
        "interval_only": estimate.interval_only,
        "lower_bound": estimate.lower_bound,
        "expected": alert.expected,
        "p": alert.p,
        "q": alert.q,
        "ratio_to_max": alert.ratio_to_max,
        "looks": alert.looks,
        "verdict": alert.verdict,
    }


def records(alerts: Sequence[Alert]) -> list[dict[str, Any]]:
    """`record` of each alert."""
    return [record(alert) for alert in alerts]


def human_interval(value: float, low: float | None, high: float | None) -> tuple[float, float]:
    """90 % interval of a count by a person: the given one, if any, and the inter-observer term in quadrature."""
    half = Z90 * INTER_OBSERVER * value
    below = 0.0 if low is None else value - low
    above = 0.0 if high is None else high - value
    return max(0.0, value - math.hypot(half, below)), value + math.hypot(half, above)


def _rows(reader: Any, name: str) -> list[tuple[int, list[str]]]:
    """Line number and stripped cells of every row that is not blank."""
    rows: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                rows.append((reader.line_num, stripped))
    except csv.Error as error:
        raise TableError(f"{name}: line {reader.line_num} is not CSV ({error})", "Mend that line.") from error
    return rows


def _header(cells: Sequence[str], name: str) -> list[str]:
    header = [cell.lower() for cell in cells]
    for column in REQUIRED:
        if column not in header:
            raise TableError(f"{name}: line 1: column '{column}' is missing", _LAYOUT)
    for column in header:
        if column not in REQUIRED + OPTIONAL:
            raise TableError(f"{name}: line 1: unknown column '{column}'", _LAYOUT)
        if header.count(column) > 1:
            raise TableError(f"{name}: line 1: column '{column}' stands twice", "Remove one of them.")
    return header


def _key(estimate: Estimate) -> tuple[Any, ...]:
    return estimate.site, estimate.zone, estimate.zone_version, estimate.cls, estimate.estimator


class _Row:
    """One line of the table; every reader names file, line and column when the cell is wrong."""

    def __init__(self, name: str, line: int, cells: Mapping[str, str]) -> None:
        self._name, self._line, self._cells = name, line, cells

    def estimate(self) -> Estimate:
        value = self._number("value", least=0.0)
        low, high = self._number("low", least=0.0), self._number("high", least=0.0)
        exposure = self._number("exposure", least=0.0, most=1.0)
        exposure = (0.0 if value is None else 1.0) if exposure is None else exposure
        estimator = self._estimator()
        cls = self._text("class")
        reason = ""
        if value is None:
            reason = self._cells.get("note") or "no value in the table"
        elif exposure < NO_VALUE_BELOW:
            reason = f"only {100 * exposure:.0f} % of the zone could be seen"
            value = None
        if value is None:
            low = high = None
        else:
            self._ordered(value, low, high)
            if estimator == "human":
                low, high = human_interval(value, low, high)
        return Estimate(
            site=self._text("site"),
            zone=self._text("zone"),
            zone_version=int(self._number("zone_version", least=1.0) or 1),
            cls=cls,
            time=self._time(),
            value=value,
            low=value if low is None else low,
            high=value if high is None else high,
            exposure=exposure,
            estimator=estimator,
            not_observed=reason,
            interval_only=value is not None and exposure < INTERVAL_ONLY_BELOW,
            lower_bound=self._flag("lower_bound"),
            unit="m" if cls.endswith("_m") else "count",
            note=self._cells.get("note", "") if value is not None else "",
        )

    def _fail(self, column: str, problem: str, fix: str) -> NoReturn:
        raise TableError(f"{self._name}: line {self._line}, column '{column}': {problem}", fix)

    def _text(self, column: str) -> str:
        text = self._cells[column]
        if not text:
            self._fail(column, "is empty", "Fill it in.")
        return text

    def _number(self, column: str, *, least: float, most: float = math.inf) -> float | None:
        text = self._cells.get(column, "")
        if not text:
            return None
        try:
            number = float(text)
        except ValueError:
            self._fail(column, f"'{text}' is not a number", "Write for example 73 or 0.8, with a point.")
        if not (math.isfinite(number) and least <= number <= most):
            top = "" if math.isinf(most) else f" and at most {most:g}"
            self._fail(column, f"{text} is out of range", f"It must be at least {least:g}{top}.")
        return number

    def _ordered(self, value: float, low: float | None, high: float | None) -> None:
        if low is not None and low > value:
            self._fail("low", f"{low:g} is above the value {value:g}", "Swap or mend them.")
        if high is not None and high < value:
            self._fail("high", f"{high:g} is below the value {value:g}", "Swap or mend them.")

    def _estimator(self) -> str:
        name = self._cells.get("estimator") or "human"
        if name not in FAMILIES:
            self._fail("estimator", f"'{name}' is unknown", f"Write one of {', '.join(FAMILIES)}.")
        return name

    def _flag(self, column: str) -> bool:
        text = self._cells.get(column, "").lower()
        if text not in {"", "true", "false", "1", "0", "yes", "no"}:
            self._fail(column, f"'{text}' is neither true nor false", "Write true or false.")
        return text in {"true", "1", "yes"}

    def _time(self) -> datetime:
        text = self._text("date")
        try:
            time = datetime.fromisoformat(text)
        except ValueError:
            self._fail("date", f"'{text}' is not an ISO date", "Write 2023-10-05 or 2023-10-05T02:10:00Z.")
        time = time if time.tzinfo else time.replace(tzinfo=UTC)
        if not TIMES[0] <= time <= TIMES[1]:
            self._fail("date", f"{text} is out of range", f"It must lie between {TIMES[0]:%Y} and {TIMES[1]:%Y}.")
        return time.astimezone(UTC)
