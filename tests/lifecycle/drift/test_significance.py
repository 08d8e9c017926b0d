"""How far days are from those before them where nothing changes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import stdtr

from lifecycle.drift.significance import spread_of_next

DAYS, WORLDS, RARE = 60, 20_000, 0.002


@pytest.mark.parametrize("carried", [0.0, 0.5])
@pytest.mark.parametrize("span", [1, 3])
def test_the_next_days_are_as_far_away_as_is_said(span: int, carried: float) -> None:
    random = np.random.default_rng(3)
    days = random.normal(0, 1, (DAYS + span, WORLDS))
    for place in range(1, len(days)):
        days[place] += carried * days[place - 1]
    before, after = days[:DAYS], days[DAYS:].mean(axis=0)
    spread, freedom = spread_of_next(before, span)
    away = (after - before.mean(axis=0)) / spread
    assert away.std() == pytest.approx(1, abs=0.1)
    assert np.mean(2 * stdtr(freedom, -abs(away)) < RARE) == pytest.approx(RARE, rel=0.6)


def test_days_that_never_differ_have_no_spread() -> None:
    assert spread_of_next(np.full((9, 2), 3.0), 3)[0].tolist() == [0.0, 0.0]
