"""What is measured of one column of a window: counts, distances, tests and harm, of the window and of its days.

What belongs here: the measuring, and the rows in the form it takes them. What is called is decided in
``verdicts.py``; the report is put together in ``monitoring.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lifecycle import distances, harm
from lifecycle.day_report import Kind
from lifecycle.losses import row_losses
from lifecycle.lost import is_lost, stuck_days
from lifecycle.profiles import CategoricalProfile, NumericProfile, Profile, column_bins, count_by_day, numbers
from lifecycle.rescoring import MOST_ROWS, Rescoring, Swap
from lifecycle.significance import DayTests, day_tests

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from lifecycle.features import Feature
    from lifecycle.pipeline import Task

WELL_KNOWN = 5.0  # times the share of rows lost; from a fifth on, what each costs is asked of as many rows as may be
FEWEST_ASKED = 0.1  # of as many as may be


@dataclass(frozen=True)
class Days:
    """The days of some rows: which there are, and the number of each row's day."""

    days: np.ndarray
    places: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Days in the whole window, and in each day."""
        import numpy as np

        return np.array([self.days.size] + [1] * self.days.size)


@dataclass(frozen=True)
class Judged:
    """Rows that the champion was judged on.

    Parameters
    ----------
    losses, excess : (rows,) loss of each, and by how much it exceeds what its own forecast announces.
    skill : gain over always forecasting the mean, at least zero; on these rows and on those it served since.
    rescoring : all of these rows, to be scored again; None where the model is not at hand.
    """

    frame: pl.DataFrame
    losses: np.ndarray
    excess: np.ndarray
    scores: np.ndarray
    when: Days
    skill: float
    rescoring: Rescoring | None


@dataclass(frozen=True)
class Column:
    """What was measured of a column; arrays over windows have the whole window first, then each of its days.

    Parameters
    ----------
    bins, lost : (rows,) bin of each row, and whether its value tells nothing.
    counts : (days, bins) rows of each day.
    stability : (windows,) population stability index.
    usual : (2,) index that days' differences alone give: for the window, and for a day.
    growth, harm : estimated change of the loss, and the part of it that the forecasts do not announce.
    """

    profile: Profile
    kind: Kind
    bins: np.ndarray
    ordered: np.ndarray
    lost: np.ndarray
    stuck_days: int
    counts: np.ndarray
    stability: np.ndarray
    usual: tuple[float, float]
    tests: DayTests | None
    growth: harm.Harm | None
    harm: harm.Harm | None
    smirnov: distances.Test | None
    outside: float | None
    new_categories: tuple[str, ...]
    distinct: int
    importance: float | None


def dated(frame: pl.DataFrame, needed: Sequence[str], what: str) -> pl.DataFrame:
    import polars as pl

    missing = [name for name in needed if name not in frame.columns]
    if missing:
        raise ValueError(f"the {what} lacks the columns {missing}; it has {frame.columns}")
    return frame.filter(pl.col("day").is_not_null())


def days_of(frame: pl.DataFrame) -> Days:
    import numpy as np
    import polars as pl

    if frame["day"].dtype != pl.Date:
        raise ValueError(f"column 'day' holds {frame['day'].dtype}; it must hold dates")
    days, places = np.unique(frame["day"].to_numpy(), return_inverse=True)
    return Days(days.astype("datetime64[D]"), places)


def judged_rows(
    frame: pl.DataFrame | None,
    task: Task,
    score: Callable[[pl.DataFrame], np.ndarray] | None,
    served: pl.DataFrame | None = None,
) -> Judged | None:
    """The judged rows that have a score and a label; None when there is none.

    Parameters
    ----------
    served : (rows,) of what the champion has forecast since, with the same columns. The fortnight it was judged on may
        have been one of hardly any skill, or of much: what its skill is, and what broken values take of it, is asked of
        all rows with labels.
    """
    if frame is None:
        return None
    frame = _known(dated(frame, ("day", "score", "label"), "judged sample"))
    if frame.is_empty():
        return None
    labels, scores = _numbers(frame)
    losses = row_losses(labels, scores, task)
    everything = _with_served(frame, served)
    gain = harm.skill(*_numbers(everything), task) or 0.0
    rescoring = None if score is None else Rescoring(everything, row_losses(*_numbers(everything), task), task, score)
    excess = losses - harm.announced(scores, task)
    return Judged(frame, losses, excess, scores, days_of(frame), max(gain, 0.0), rescoring)


def _known(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows that have a score and a label."""
    import polars as pl

    return frame.filter(
        pl.col(name).is_not_null() & pl.col(name).cast(pl.Float64).is_finite() for name in ("score", "label")
    )


def _numbers(frame: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """(rows,) labels, and (rows,) scores."""
    import polars as pl

    return frame["label"].cast(pl.Float64).to_numpy(), frame["score"].cast(pl.Float64).to_numpy()


def _with_served(judged: pl.DataFrame, served: pl.DataFrame | None) -> pl.DataFrame:
    """Judged rows and those served since; the judged alone where the others lack a column, or have it in another type.

    Those of another feature set may. A day that was judged counts once.
    """
    import polars as pl

    if served is None or not all(_alike(column, served) for column in judged.iter_columns()):
        return judged
    since = _known(served.filter(pl.col("day") > judged["day"].max())).select(judged.columns)
    return pl.concat([judged, since], how="vertical_relaxed", rechunk=True) if since.height else judged


def _alike(column: pl.Series, frame: pl.DataFrame) -> bool:
    there = frame.schema.get(column.name)
    return there is not None and (there == column.dtype or (there.is_numeric() and column.dtype.is_numeric()))


def measure(
    profile: Profile,
    kind: Kind,
    column: pl.Series,
    when: Days,
    sample: Judged | None,
    declared: Mapping[str, Feature],
    importance: float | None,
) -> Column | None:
    import numpy as np
    import polars as pl

    bins = column_bins(profile, column)
    if bins is None:
        return None
    size, before = len(profile.bin_counts), np.array(profile.bin_counts)
    new: tuple[str, ...] = ()
    if isinstance(profile, NumericProfile):
        values = numbers(column)
        ordered = np.sort(values[np.isfinite(values)])
        stuck = stuck_days(profile, values, when.places, when.days.size) & (kind == "feature")
        distinct = int(np.count_nonzero(np.diff(ordered))) + 1 if ordered.size else 0
    else:
        values, ordered, new = np.empty(0), np.empty(0), _new_categories(profile, column, bins)
        stuck, distinct = np.zeros(when.days.size, dtype=bool), column.drop_nulls().n_unique()
    counts = count_by_day(bins, size, when.places, when.days.size)
    windows = np.vstack([counts.sum(axis=0), counts])
    lost = is_lost(profile, values, bins, stuck[when.places]) if kind == "feature" else np.zeros(bins.size, dtype=bool)
    tests = day_tests(np.array(profile.day_counts), windows, when.lengths) if profile.day_counts else None
    smirnov = None
    if isinstance(profile, NumericProfile) and profile.sketch and ordered.size:
        smirnov = distances.kolmogorov_smirnov(profile.sketch, ordered, tests.effective_rows[0] if tests else None)
    growth, excess = _harm(profile, kind, bins, column.filter(pl.Series(lost)), lost, when, sample, importance)
    return Column(
        profile=profile,
        kind=kind,
        bins=bins,
        ordered=ordered,
        lost=lost,
        stuck_days=int(stuck.sum()),
        counts=counts,
        stability=distances.daily_stability(before, windows),
        usual=_usual(profile, before, windows, tests),
        tests=tests,
        growth=growth,
        harm=excess,
        smirnov=smirnov,
        outside=_outside(values, declared.get(profile.name)) if values.size else None,
        new_categories=new,
        distinct=distinct,
        importance=importance,
    )


def _new_categories(profile: CategoricalProfile, column: pl.Series, bins: np.ndarray) -> tuple[str, ...]:
    """Values the reference never saw, most frequent first; none when it pooled rare ones, as one cannot tell."""
    import polars as pl

    if profile.other:
        return ()
    unseen = column.cast(pl.String).filter(pl.Series(bins == len(profile.categories)))
    counted = unseen.alias("value").to_frame().group_by("value").len("rows")
    return tuple(counted.sort(["rows", "value"], descending=[True, False])["value"].to_list())


def _outside(values: np.ndarray, feature: Feature | None) -> float | None:
    """Share of rows outside the declared range; None where none is declared."""
    import numpy as np

    if feature is None or (feature.minimum is None and feature.maximum is None):
        return None
    low = -np.inf if feature.minimum is None else feature.minimum
    high = np.inf if feature.maximum is None else feature.maximum
    with np.errstate(invalid="ignore"):
        return float(((values < low) | (values > high)).mean())


def _usual(profile: Profile, before: np.ndarray, windows: np.ndarray, tests: DayTests | None) -> tuple[float, float]:
    """Index to be expected without drift: of the window, and of a day (what the reference's own days show)."""
    import numpy as np

    if tests is None:
        return (
            distances.expected_index(before, windows[0]),
            distances.expected_index(before, np.maximum(windows[1:].mean(axis=0), 0)),
        )
    own = distances.daily_stability(before, np.array(profile.day_counts))
    return float(tests.expected[0]), float(np.nanmean(own))


def _harm(
    profile: Profile,
    kind: Kind,
    bins: np.ndarray,
    useless: pl.Series,
    lost: np.ndarray,
    when: Days,
    sample: Judged | None,
    importance: float | None,
) -> tuple[harm.Harm | None, harm.Harm | None]:
    """Estimated change of the loss, and of its excess over what the forecasts announce.

    Parameters
    ----------
    useless : the values of the rows that are ``lost``.
    """
    import numpy as np

    source = "score" if kind == "prediction" else profile.name
    if sample is None or kind == "label" or source not in sample.frame.columns:
        return None, None
    judged = column_bins(profile, sample.frame[source])
    if judged is None:
        return None, None
    size, days = len(profile.bin_counts), when.days.size
    found = count_by_day(bins[~lost], size, when.places[~lost], days)
    gone = np.bincount(when.places[lost], minlength=days)
    windows, none = np.vstack([found.sum(axis=0), found]), np.append(gone.sum(), gone)
    share = float((none / (windows.sum(axis=1) + none)).max())
    each = _growth_by_lost(profile.name, useless, share, sample, importance)
    estimates = [
        harm.estimate(
            harm.bin_losses(judged, size, losses, sample.when.places, sample.when.days.size),
            windows,
            none,
            when.lengths,
            each,
        )
        for losses in (sample.losses, sample.excess)
    ]
    return estimates[0], estimates[1]


def _growth_by_lost(name: str, useless: pl.Series, share: float, sample: Judged, importance: float | None) -> float:
    """Growth of a row's loss, on average, when its value is one of those that tell the model nothing.

    Parameters
    ----------
    share : of the rows, on the day that lost most; where few are lost, the growth need not be known as well.
    """
    import polars as pl

    if useless.is_empty():
        return 0.0
    if sample.rescoring is None:
        return max(importance or 0.0, 0.0)
    asked = sample.rescoring.some(most=int(MOST_ROWS * min(1.0, max(WELL_KNOWN * share, FEWEST_ASKED))))
    drawn = (sample.rescoring.chances(asked, 0) * len(useless)).astype(int)
    return max(sample.rescoring.growths([Swap(name, asked, useless[pl.Series(drawn)])])[0] / asked.size, 0.0)
