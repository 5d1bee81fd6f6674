"""Words: one row of terms, likelihood and confidence apart, no cause, no contents."""

import pytest

from pipeline.activity.wording import guard, likelihood_term


@pytest.mark.parametrize(
    ("probability", "term"),
    [
        (0.0, "almost no chance"),
        (0.04, "almost no chance"),
        (0.1, "very unlikely"),
        (0.3, "unlikely"),
        (0.5, "roughly even chance"),
        (0.7, "likely"),
        (0.9, "very likely"),
        (0.97, "almost certain"),
        (1.0, "almost certain"),
    ],
)
def test_terms_of_icd_203(probability: float, term: str) -> None:
    assert likelihood_term(probability) == term


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_what_is_no_probability_has_no_term(probability: float) -> None:
    with pytest.raises(ValueError, match="not a probability"):
        likelihood_term(probability)


@pytest.mark.parametrize(
    "text",
    [
        "It is likely, with high confidence, that the yard is full.",
        "We are confident that this is almost certainly a surge.",
        ["The yard is full.", "An increase is very unlikely; confidence is low."],
        "The boxes hold ammunition.",
        "The count rose because of the summit.",
    ],
)
def test_the_guard_refuses(text: str | list[str]) -> None:
    with pytest.raises(ValueError, match=r"sentence|cause"):
        guard(text)


def test_the_guard_lets_two_sentences_pass() -> None:
    guard("A count this high would be very unlikely. Confidence in the observation is moderate: 12 looks.")
