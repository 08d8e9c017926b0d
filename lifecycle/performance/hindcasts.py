"""Hindcasts: what a model says of an event with what was known at the last moment before it.

A forecast made the night before cannot know that a storm will stand over the airport; one made two hours before knows
more. What happened differs from both, but what the second differs by is less the day's luck and more the model's error.
What belongs here: hindcasts beside the forecasts that were issued, and a level of errors apart from what they explain.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from lifecycle.pipeline import Spine

HINDCAST = "hindcast"
SLOPE_SPREAD = 0.5  # how far from one the slope may well be, before days tell it; one is what calibrated hindcasts have


def beside_forecasts(scored: pl.DataFrame, spine: Spine, key: Sequence[str]) -> pl.DataFrame:
    """The forecasts of the first moment with what the model says of the same events at the last.

    Parameters
    ----------
    scored : (rows,) of all moments with ``moment``, ``score`` and the columns of ``key``.

    Returns
    -------
    (rows of the first moment,) frame
        With ``hindcast``, null where the event was not asked about at the last moment.
    """
    import polars as pl

    first = scored.filter(pl.col("moment") == spine.moments[0].name)
    last = scored.filter(pl.col("moment") == spine.last_moment.name)
    return with_hindcasts(first, last.select(*key, pl.col("score").alias(HINDCAST)), key)


def with_hindcasts(forecasts: pl.DataFrame, hindcasts: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """Forecasts, in their order, with the hindcasts of the same events.

    Parameters
    ----------
    hindcasts : (events,) the columns of ``key`` and ``hindcast``.
    """
    one_each = hindcasts.unique(list(key), keep="last", maintain_order=True)
    return forecasts.join(one_each, on=list(key), how="left", maintain_order="left")


def apart_from_news(levels: np.ndarray, news: np.ndarray) -> np.ndarray:
    """The levels of days without what their news explains: how far hindcasts were from the forecasts that were issued.

    Parameters
    ----------
    levels : (days,) what happened minus what was forecast, in order of days; NaN where it is not known.
    news : (days,) what was hindcast minus what was forecast, in the same units; NaN where there were no hindcasts.

    Returns
    -------
    (days,) levels
        Each minus news times a slope that the days before it tell, so that no later day changes it. As they were where
        there is no news.

    Notes
    -----
    News is a control variate: the levels vary less, and a change of what happens that hindcasts do not see shows whole.
    One that they see, as features of the last hours may tell of it, is news in part: it shows in the levels themselves.
    Deng et al. (2013), "Improving the sensitivity of online controlled experiments by utilizing pre-experiment data",
    WSDM. The slope is the mean of its posterior, normal around one with ``SLOPE_SPREAD`` before any day has told of it:
    as little as news has varied so far, so little is learnt from it.

    Examples
    --------
    >>> import numpy as np
    >>> news = np.array([0.1, -0.2, 0.3])
    >>> apart_from_news(0.5 + news, news).round(3).tolist()
    [0.5, 0.5, 0.5]
    """
    import numpy as np

    known = np.isfinite(levels) & np.isfinite(news)
    level, told = np.where(known, levels, 0.0), np.where(known, news, 0.0)
    days, level_sum, told_sum, level_square, square, product = (
        np.concatenate([[0.0], np.cumsum(each)[:-1]]) for each in (known, level, told, level**2, told**2, level * told)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.maximum(square - told_sum**2 / days, 0.0)
        together = product - level_sum * told_sum / days
        unexplained = np.maximum(level_square - level_sum**2 / days - 2 * together + spread, 0.0) / (days - 1)
        weight = unexplained / SLOPE_SPREAD**2
        slope = (weight + together) / (weight + spread)
    return levels - np.where((days > 1) & np.isfinite(slope), slope, 1.0) * told
