"""Every plot draws, also from little or nothing, the same bytes each time."""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import pytest

from lifecycle import plots

DAYS = [date(2013, 1, 1) + timedelta(days=n) for n in range(40)]
RANDOM = np.random.default_rng(0)
SCORES = RANDOM.random(500)
LABELS = (RANDOM.random(500) < SCORES).astype(float)
NAMES = [f"a_feature_whose_name_is_rather_long_indeed_{n}h" for n in range(20)]

DRAWN: dict[str, Callable[[], bytes]] = {
    "reliability": lambda: plots.reliability(LABELS, {"new": SCORES, "old": SCORES**2}, "New is calibrated"),
    "reliability of one row": lambda: plots.reliability(LABELS[:1], {"new": SCORES[:1]}, "One row"),
    "distribution": lambda: plots.distribution(["≤ 1", "> 1", "missing"], [5, 5, 0], [9, 1, 2], "Scores fell"),
    "distribution of nothing": lambda: plots.distribution(["any value", "missing"], [0, 0], [0, 0], "No rows"),
    "drift bars": lambda: plots.drift_bars(NAMES, [0.4, *[0.1] * 19], 0.25, "One drifted", expected=[0.02] * 20),
    "drift bars of nothing": lambda: plots.drift_bars([], [], 0.25, "No features"),
    "over days": lambda: plots.over_days(
        DAYS, {"AUC": [None, *[0.7] * 39]}, "AUC holds", "AUC", limit=0.65, reference=0.72, retrainings=DAYS[5:7]
    ),
    "over one day": lambda: plots.over_days(DAYS[:1], {"AUC": [0.7]}, "One day", "AUC"),
    "improvement": lambda: plots.improvement(RANDOM.normal(size=0) + 1, (0.0, 0.0), "No resamples", "log loss (nats)"),
    "improvement of equals": lambda: plots.improvement(np.zeros(50), (0.0, 0.0), "Equal", "log loss (nats)"),
    "value": lambda: plots.value_by_threshold(
        np.linspace(0, 1, 50), np.linspace(0, -9, 50), 0.2, "Acting pays", "value (USD)", 0.0, -9.0
    ),
    "by month": lambda: plots.by_month(DAYS[::31], {"never": [0.7, None], "on checks": [0.7, 0.8]}, "Pays", "AUC"),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_plot_is_a_small_png_and_always_the_same(name: str) -> None:
    first, second = DRAWN[name](), DRAWN[name]()
    assert first == second
    assert first.startswith(b"\x89PNG")
    assert struct.unpack(">II", first[16:24]) == (560, 256)
    assert len(first) < 80_000


def test_a_long_name_keeps_its_end_which_tells_windows_apart() -> None:
    shortened = {plots._shorten(f"origin_and_carrier_departure_delay_mean_{hours}h", 30) for hours in (3, 6, 24)}
    assert len(shortened) == 3
    assert {len(name) for name in shortened} == {30}
