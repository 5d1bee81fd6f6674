"""Published numbers that travel with the package: what analysts printed, with their references (METHOD 2.2 and 2.3).

Numbers only, no imagery. Rows are as published; what was converted says so in its note.
"""

import csv
import io
from datetime import date
from importlib.resources import files

from pipeline.activity.changepoint import Period
from pipeline.activity.records import Estimate
from pipeline.activity.tables import parse_counts
from pipeline.errors import TableError

CASES = ("tumangang", "rajin")
"""Names of the published cases."""


STORIES = {
    "tumangang": ("yard", "railcar", date(2023, 10, 5)),
    "rajin": ("nk-pier", "vessel", date(2023, 11, 15)),
}
"""Zone, class and last day of the story that each case tells: METHOD 2.4, T1 and T6."""


def story(name: str) -> list[Estimate]:
    """The looks of a case's one series up to the day its analysts wrote about; the last one is the look under test.

    Raises:
        TableError: there is no such case.
    """
    looks = case(name)
    zone, cls, last = STORIES[name]
    chosen = (e for e in looks if (e.site, e.zone, e.cls) == (name, zone, cls) and e.time.date() <= last)
    return sorted(chosen, key=lambda e: e.time)


def case(name: str) -> list[Estimate]:
    """The looks of a published case.

    Raises:
        TableError: there is no such case.
    """
    return parse_counts(case_text(name), f"{name}.csv")


def case_text(name: str) -> str:
    """The table of a published case, as CSV.

    Raises:
        TableError: there is no such case.
    """
    if name not in CASES:
        raise TableError(f"no published case is called '{name}'", f"The cases are {', '.join(CASES)}.")
    return _data(f"{name}.csv")


def voyage_months() -> list[Period]:
    """Voyages of September 2023 to March 2025 by period (Open Source Centre, METHOD 2.3).

    The report states October, the two quarters, February 2025 and the total. What is left of the total, 29 voyages in twelve
    months, is spread evenly over the periods that it does not state.
    """
    rows = list(csv.DictReader(io.StringIO(_data("voyages.tsv")), delimiter="\t"))
    *parts, total = [(date.fromisoformat(r["start"]), date.fromisoformat(r["end"]), r["voyages"]) for r in rows]
    rest = float(total[2]) - sum(float(v) for _, _, v in parts if v)
    months = sum(_months(a, b) for a, b, v in parts if not v)
    return [Period(a, b, float(v) if v else rest * _months(a, b) / months) for a, b, v in parts]


def _months(start: date, end: date) -> int:
    return 12 * (end.year - start.year) + end.month - start.month


def _data(name: str) -> str:
    return files("pipeline.activity").joinpath("data", name).read_text(encoding="utf-8")
