"""Voyages as ordered calls, counted as lower bounds (METHOD 5, E5; METHOD 8c.5)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import hypot, prod
from typing import Self

from pipeline.activity.calls import ShipCall
from pipeline.activity.records import Estimate

DWELL_DAYS = 2
"""Days that a ship lies at a berth, where a call is to be seen at all: METHOD 3 corrects voyages with it."""


@dataclass(frozen=True, slots=True, order=True)
class AtLeast:
    """A number that is known from below. Sums stay bounds from below; a difference of two would be no bound, so there is none."""

    count: int

    def __add__(self, other: Self) -> Self:
        return type(self)(self.count + other.count)

    def __str__(self) -> str:
        return f"at least {self.count}"

    @classmethod
    def total(cls, parts: Iterable["AtLeast"]) -> Self:
        """Sum of bounds over disjoint groups, such as ships."""
        return cls(sum(part.count for part in parts))


@dataclass(frozen=True, slots=True)
class Voyage:
    """A call at one site and the next one at another that can be its continuation."""

    loaded: ShipCall
    delivered: ShipCall

    @property
    def inferred(self) -> bool:
        """Whether one of its two calls was not seen."""
        return self.loaded.inferred or self.delivered.inferred


def voyages(
    loads: Sequence[ShipCall],
    deliveries: Sequence[ShipCall],
    shortest: timedelta,
    longest: timedelta,
) -> tuple[list[Voyage], AtLeast]:
    """Match calls at two sites into voyages, each call used once, first departure first.

    A pair fits when the passage can have lasted between `shortest` and `longest` by what is known of departure and arrival, and
    the hull lengths agree within their errors where both were measured.

    Returns:
        The voyages, and the number of observed ones as a lower bound; inferred calls do not raise the bound.
    """
    free = sorted(deliveries, key=lambda c: c.first_seen)
    found: list[Voyage] = []
    for load in sorted(loads, key=lambda c: c.last_seen):
        match = next((c for c in free if _fits(load, c, shortest, longest)), None)
        if match is not None:
            free.remove(match)
            found.append(Voyage(load, match))
    return found, AtLeast(sum(not voyage.inferred for voyage in found))


@dataclass(frozen=True, slots=True)
class RouteVoyages:
    """What is known of the voyages along a route.

    Attributes:
        origin, destination: site ids.
        found: every voyage, inferred ones included.
        bound: those of which both calls were seen.
        likely: `bound` over the chance that looks as frequent as these see both calls of a voyage; None where they see none.
    """

    origin: str
    destination: str
    found: tuple[Voyage, ...]
    bound: AtLeast
    likely: float | None

    @classmethod
    def of(cls, origin: str, destination: str, known: tuple[Sequence[Voyage], AtLeast], rates: tuple[float, float]) -> Self:
        """From `voyages` and the usable rate at either end."""
        return cls(origin, destination, tuple(known[0]), known[1], corrected(known[1], rates))


def usable_rate(estimates: Sequence[Estimate]) -> float:
    """Share of the days of a series on which a look shows where ships lie; 0 without such a look."""
    looks = [e for e in estimates if e.cls == "vessel"]
    days = {e.time.date() for e in looks if e.value is not None}
    span = (max(e.time for e in looks).date() - min(e.time for e in looks).date()).days + 1 if looks else 1
    return len(days) / span


def seen_probability(dwell_days: int, usable_rate: float) -> float:
    """Probability of at least one usable look during a call: ``1 - (1 - q)^D`` (METHOD 3).

    >>> [round(seen_probability(d, 0.371), 2) for d in range(1, 6)]
    [0.37, 0.6, 0.75, 0.84, 0.9]
    """
    return float(1 - (1 - usable_rate) ** dwell_days)


def corrected(seen: AtLeast, usable_rates: Sequence[float], dwell_days: int = DWELL_DAYS) -> float | None:
    """Likely number from those seen, ``n / p(D, q)`` with one chance for each call that had to be seen (METHOD 3).

    An estimate, to be stated beside the bound and not in its place; None where nothing could have been seen.
    """
    probability = prod(seen_probability(dwell_days, rate) for rate in usable_rates)
    return seen.count / probability if probability > 0 else None


def _fits(load: ShipCall, delivery: ShipCall, shortest: timedelta, longest: timedelta) -> bool:
    earliest_departure, latest_departure = load.last_seen, load.first_empty
    earliest_arrival, latest_arrival = delivery.last_empty, delivery.first_seen
    if latest_arrival - earliest_departure < shortest:
        return False  # even the slowest reading of the brackets is faster than a ship
    if earliest_arrival is not None and latest_departure is not None and earliest_arrival - latest_departure > longest:
        return False
    if load.length_m is None or delivery.length_m is None:
        return True
    return abs(load.length_m - delivery.length_m) <= hypot(load.length_error_m or 0.0, delivery.length_error_m or 0.0)
