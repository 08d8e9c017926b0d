"""What nights remember of those before them."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

from assets.performance_history import kept_columns, past_estimates

LAST = date(2024, 12, 1)


def nights(count: int) -> pl.DataFrame:
    """Rows of the nights up to ``LAST``, each with an estimate of the week that ends a day later."""
    days = [LAST - timedelta(days=ago) for ago in range(1, count + 1)]
    rows = [
        {
            "day": day,
            "estimated": 0.7,
            "estimated_low": 0.6,
            "estimated_high": 0.8,
            "estimated_from": day - timedelta(days=5),
            "estimated_to": day + timedelta(days=1),
            "week_to": day,
            "week_ranking": 0.7,
        }
        for day in days
    ]
    return pl.DataFrame(rows, schema_overrides=kept_columns()).select(
        pl.col(name) if name in rows[0] else pl.lit(None, kind).alias(name) for name, kind in kept_columns().items()
    )


def test_estimates_of_a_night_are_graded_alike_whether_it_is_built_alone_or_in_a_range() -> None:
    alone, in_range = (past_estimates(nights(count), LAST, 90, LAST, 0.7) for count in (90, 365))
    assert alone == in_range
    assert [made.last_day for made, _ in alone] == [LAST - timedelta(weeks=back) for back in range(12, -1, -1)]
