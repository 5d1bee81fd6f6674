"""What must hold for any counts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.activity.judge import judge
from pipeline.activity.nb import Count, Sufficient, q_values
from pipeline.activity.records import Estimate
from pipeline.activity.tables import human_interval
from pipeline.activity.wording import guard
from pipeline.config import ActivitySettings

COUNTS = st.lists(st.integers(0, 400), min_size=5, max_size=20)
START = datetime(2023, 1, 1, tzinfo=UTC)


def looks(values: list[int | None], exposures: list[float]) -> list[Estimate]:
    out = []
    for i, (v, e) in enumerate(zip(values, exposures, strict=False)):
        low, high = (None, None) if v is None else human_interval(v, None, None)
        out.append(
            Estimate(
                "s", "z", 1, "railcar", START + timedelta(days=11 * i), None if v is None else float(v), low, high,
                0.0 if v is None else e, "human", "cloud" if v is None else "",
            )
        )  # fmt: skip
    return out


@given(COUNTS, st.integers(0, 500))
@settings(max_examples=25, deadline=None)
def test_p_falls_as_the_count_rises_and_stays_a_probability(past: list[int], value: int) -> None:
    predictive = Sufficient.of(past, [1.0] * len(past)).predictive()
    tail = predictive.at_least(np.array([value, value + 1, value + 50], np.float64))
    assert 1.0 + 1e-9 >= tail[0] >= tail[1] >= tail[2] >= 0.0
    exact, unsure = predictive.surge_p(Count(value, value, value)), predictive.drop_p(Count(value, value, value))
    assert exact + unsure >= 1.0 - 1e-9


@given(COUNTS, st.randoms(use_true_random=False))
@settings(max_examples=15, deadline=None)
def test_the_order_of_past_looks_does_not_matter(past: list[int], random: object) -> None:
    shuffled = list(past)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    a, b = (Sufficient.of(p, [1.0] * len(p)).predictive().at_least(50.0)[0] for p in (past, shuffled))
    assert a == pytest.approx(b, rel=1e-6, abs=1e-12)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_q_is_never_below_p_and_keeps_the_order(p: list[float]) -> None:
    q = q_values(dict(enumerate(p)))
    assert all(q[i] >= p[i] for i in range(len(p)))
    ranked = sorted(range(len(p)), key=lambda i: p[i])
    assert all(q[a] <= q[b] for a, b in pairwise(ranked))


@given(
    st.lists(st.one_of(st.none(), st.integers(0, 300)), min_size=1, max_size=18),
    st.lists(st.floats(0, 1), min_size=18, max_size=18),
)
@settings(max_examples=40, deadline=None)
def test_any_history_is_judged_in_words_that_pass_the_guard(values: list[int | None], exposures: list[float]) -> None:
    rows = looks(values, exposures)
    (alert,) = judge(rows, ActivitySettings())
    guard(alert.wording)
    assert alert.looks == sum(e.value is not None and e.exposure >= 0.2 and e.time < rows[-1].time - timedelta(days=28) for e in rows)
    assert (alert.p is None) or 0 <= alert.p <= 1
    if alert.raised:
        assert alert.looks >= 8
    if rows[-1].value is None or rows[-1].exposure < 0.2:
        assert alert.verdict == "not observed"
    hidden = replace(rows[-1], value=None, low=None, high=None, exposure=0.0, not_observed="cloud")
    assert not judge([*rows[:-1], hidden], ActivitySettings())[0].raised
