"""What each monitor of the watch looks at."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from lifecycle.backtesting.watch import Watch
from tests.lifecycle.backtesting.backtest_world import FIRST, FIRST_NIGHT, PIPELINE, rows, world

PROMOTED = FIRST_NIGHT + timedelta(days=14)


def test_what_the_predecessor_did_is_not_held_against_a_new_champion() -> None:
    same = world(rows(change=FIRST))
    champion = same.train(PROMOTED)
    own = same.forecasts(champion, PROMOTED + timedelta(days=2), PROMOTED + timedelta(days=9))
    before = same.forecasts(same.train(FIRST_NIGHT), PROMOTED - timedelta(days=7), PROMOTED + timedelta(days=1))
    broken = before.with_columns(score=1 - pl.col("score"))
    for passed in range(2, 9):
        day = PROMOTED + timedelta(days=passed)
        found = Watch(PIPELINE).errors(day, champion, pl.concat([broken, own]), ["realised"])
        assert found == {"realised": ()}
    upside_down = own.with_columns(score=1 - pl.col("score"))
    late = Watch(PIPELINE).errors(
        PROMOTED + timedelta(days=8), champion, pl.concat([before, upside_down]), ["realised"]
    )
    assert "AUC fell" in late["realised"][0]
