"""Rules of thumb break where their limit is exceeded beyond what sampling explains."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.alert_rules import SEEDS, AlertRule, Measurement, judge

LIMITS = {rule.measure: rule for rule in SEEDS}


def test_the_seeds_are_those_of_the_field() -> None:
    assert [(rule.measure, rule.limit, rule.below_baseline) for rule in SEEDS] == [
        ("latency_p99_ms", 200, False),
        ("error_rate", 0.01, False),
        ("psi", 0.2, False),
        ("ranking", 0.05, True),
    ]


@pytest.mark.parametrize(
    ("measured", "sentence"),
    [
        (Measurement("latency_p99_ms", 231.4), "p99 latency is 231, above 200"),
        (Measurement("latency_p99_ms", 200), None),
        (Measurement("error_rate", 0.013), "error rate is 1.30%, above 1.00%"),
        (
            Measurement("psi", 0.25, "distance", noise=0.01),
            "PSI of distance is 0.25, above 0.20 beyond the 0.01 of chance",
        ),
        (Measurement("psi", 0.25, "distance", noise=0.06), None),
        (
            Measurement("ranking", 0.71, "AUC", 0.76),
            "accuracy (AUC) is 0.710, more than 5% below the baseline 0.760",
        ),
        (Measurement("ranking", 0.73, "AUC", 0.76), None),
        (Measurement("ranking", 0.71, "AUC", 0.76, noise=0.06), None),
        (
            Measurement("ranking", 0.71, "AUC", 0.76, noise=0.045),
            "accuracy (AUC) is 0.710, more than 5% and more than the 0.045 of chance below the baseline 0.760",
        ),
    ],
)
def test_a_rule_says_what_was_measured_beside_its_limit(measured: Measurement, sentence: str | None) -> None:
    (verdict,) = judge(SEEDS, [measured])
    assert verdict.broken_by == ((sentence,) if sentence else ())


def test_the_worst_comes_first() -> None:
    (verdict,) = judge(SEEDS, [Measurement("psi", psi, name) for name, psi in (("a", 0.3), ("b", 0.9), ("c", 0.1))])
    assert verdict.broken_by == ("PSI of b is 0.90, above 0.20", "PSI of a is 0.30, above 0.20")


def test_nothing_measured_is_no_verdict() -> None:
    assert judge(SEEDS, []) == []
    assert judge(SEEDS, [Measurement("ranking", 0.1)]) == [], "no baseline yet"
    assert judge(SEEDS, [Measurement("psi", math.nan)]) == []


@given(st.floats(0, 10), st.floats(0, 1), st.floats(0, 5))
def test_noise_never_makes_a_rule_stricter(value: float, noise: float, baseline: float) -> None:
    for rule in (AlertRule("x", "psi", 0.2), AlertRule("y", "psi", 0.05, below_baseline=True)):
        certain = rule.excess(Measurement("psi", value, baseline=baseline))
        unsure = rule.excess(Measurement("psi", value, baseline=baseline, noise=noise))
        assert certain is not None
        assert unsure is not None
        assert unsure <= certain
