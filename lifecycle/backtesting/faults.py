"""Faults put into what a model gets, to measure how soon monitoring finds them.

What belongs here: choosing on clean rows what to hurt, and hurting it in a frame. What a fault costs, and when it was
found, is measured by the backtest.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from lifecycle.features import Feature
    from lifecycle.pipeline import Task

SIZES: Mapping[str, tuple[float, ...]] = {
    "unit_change": (1 / 60, 0.5, 2.0, 60.0),
    "stuck_sensor": (0.25, 0.5, 1.0),
    "group_shift": (0.5, 1.0, 2.0),
    "label_shift": (-1.0, 0.5, 1.0, 2.0),
    "new_category": (0.1, 0.5, 1.0),
    "missing": (0.25, 0.5, 1.0),
}
SHARES = ("stuck_sensor", "new_category", "missing")  # kinds that hurt a share of the rows
MOST_COLUMNS = 3
NEVER_SEEN = "(never seen)"


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong on a day and stays wrong.

    Parameters
    ----------
    kind : ``unit_change``, ``stuck_sensor``, ``group_shift``, ``label_shift``, ``new_category`` or ``missing``.
    column : what is hurt.
    size : by ``unit_change`` the factor; by ``stuck_sensor``, ``new_category`` and ``missing`` the share of each day's
        rows; by ``group_shift`` and ``label_shift`` the shift in units of ``unit``.
    unit : standard deviation of the column on clean rows; None by a ``label_shift`` in log-odds of the base rate, and
        by kinds that have no use for it.
    group : column and value of the rows that a ``group_shift`` hurts.

    Raises
    ------
    ValueError
        If the kind is not known, the size is none of its kind, or a ``group_shift`` lacks unit or group.
    """

    name: str
    kind: str
    column: str
    size: float
    description: str
    unit: float | None = None
    group: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        import math

        if self.kind not in SIZES:
            raise ValueError(f"{self}: its kind is none of {sorted(SIZES)}")
        if not math.isfinite(self.size):
            raise ValueError(f"{self}: size is {self.size}; it must be finite")
        if self.kind in SHARES and not 0 < self.size <= 1:
            raise ValueError(f"{self}: size is {self.size}; it is a share of rows, above 0 and at most 1")
        if self.kind == "group_shift" and (self.unit is None or self.group is None):
            raise ValueError(f"{self}: needs the unit of its size and the group it hurts; take it from suite()")

    def __str__(self) -> str:
        return f"fault {self.name!r} ({self.kind} of column {self.column!r})"


def suite(
    features: Sequence[Feature],
    importances: Mapping[str, float],
    frame: pl.DataFrame,
    slices: Sequence[str],
    task: Task,
) -> list[Fault]:
    """Faults of every kind and of several sizes, for the columns that matter most to a model.

    Parameters
    ----------
    importances : growth of the model's loss when a feature is shuffled; features without any are not hurt.
    frame : (rows,) clean rows with the features, the slice columns and ``label``; what is hurt, and the standard
        deviations in which shifts are measured, come from these alone.
    slices : columns whose largest value is a group that is hurt by itself.

    Returns
    -------
    list of Fault
        Of each kind those of the three most important columns that suit it: varying ones for a sensor that sticks,
        mostly not zero for a change of unit, mostly not missing for values that get lost.

    Raises
    ------
    ValueError
        If the frame has no rows or lacks columns, or no feature has an importance above zero.
    """
    _check_clean(frame, features, slices)
    ranked = sorted(
        (feature for feature in features if importances.get(feature.name, 0.0) > 0),
        key=lambda feature: -importances[feature.name],
    )
    if not ranked:
        raise ValueError("importances gives no feature a value above zero; pass those of a trained model")
    texts = [feature.name for feature in ranked if feature.type == "string"]
    spreads = {feature.name: _deviation(frame, feature.name) for feature in ranked if feature.type != "string"}
    varying = [name for name, spread in spreads.items() if spread > 0]
    whole = [feature.name for feature in ranked if 2 * frame[feature.name].null_count() < frame.height]
    chosen = {
        "unit_change": [name for name in varying if _mostly_not_zero(frame, name)],
        "stuck_sensor": varying,
        "new_category": texts,
        "missing": whole,
    }
    plain = [
        _fault(kind, name, size)
        for kind, names in chosen.items()
        for name in names[:MOST_COLUMNS]
        for size in SIZES[kind]
    ]
    groups = [(each, value) for each in slices if (value := _largest(frame, each)) is not None] if varying else []
    shifted = [
        _fault("group_shift", varying[0], size, spreads[varying[0]], group)
        for group in groups
        for size in SIZES["group_shift"]
    ]
    unit = _deviation(frame, "label") if task == "regression" else None
    return [*plain, *shifted, *(_fault("label_shift", "label", size, unit) for size in SIZES["label_shift"])]


def inject(frame: pl.DataFrame, fault: Fault, first_day: date) -> pl.DataFrame:
    """The frame with the fault in its rows from a day on.

    Parameters
    ----------
    frame : (rows,) with ``day`` and what the fault hurts, in any order; whole numbers stay whole.
    first_day : first day of the fault.

    Returns
    -------
    (rows,) frame
        Same columns, types and order, rows of earlier days and rows without a day as they were. Which rows are hurt
        depends on the kind, the column, the day and a row's place in it alone; those of a larger share include those
        of a smaller one. A ``label_shift`` in log-odds draws each day's labelled rows anew, with replacement and all
        their columns, so that the odds of the classes change while what rows of a class look like does not; a day of
        one class stays as it was.

    Raises
    ------
    ValueError
        If columns are missing or of another type, a sensor that sticks has no value before the fault, or the new
        category was seen before.

    Notes
    -----
    Label shift: Lipton, Wang & Smola (2018), "Detecting and correcting for label shift with black box predictors".
    Rows are drawn systematically, each as often as its weight says, rounded up or down; Madow (1949).
    """
    import polars as pl

    _check_hurt(frame, fault)
    if fault.kind == "label_shift" and fault.unit is None:
        return _odds_shifted(frame, fault, first_day)
    hurt = pl.col("day") >= first_day
    if fault.kind in SHARES:
        hurt &= pl.Series(_share(frame, fault, first_day))
    elif fault.group:
        hurt &= pl.col(fault.group[0]).cast(pl.String) == fault.group[1]
    broken = pl.when(hurt).then(_value(frame, fault, first_day)).otherwise(pl.col(fault.column))
    return frame.with_columns(broken.alias(fault.column))


# What is chosen


def _fault(
    kind: str, column: str, size: float, unit: float | None = None, group: tuple[str, str] | None = None
) -> Fault:
    name = f"{kind}:{column}" + (f":{group[0]}={group[1]}" if group else "")
    where = f" where {group[0]} is {group[1]}" if group else ""
    descriptions = {
        "unit_change": f"{column} comes in another unit: {size:.3g} times its value",
        "stuck_sensor": f"{column} stays at its last value in {size:.0%} of the rows",
        "group_shift": f"{column} is shifted by {size:+g} standard deviations{where}",
        "label_shift": f"the base rate changes by {size:+g} log-odds, rows of a class look as before"
        if unit is None
        else f"labels are shifted by {size:+g} standard deviations",
        "new_category": f"{column} has a value never seen in {size:.0%} of the rows",
        "missing": f"{column} is missing in {size:.0%} of the rows",
    }
    return Fault(f"{name}:{size:.3g}", kind, column, size, descriptions[kind], unit, group)


def _deviation(frame: pl.DataFrame, name: str) -> float:
    """Standard deviation of the finite values; zero where there are fewer than two."""
    values = _finite(frame, name)
    return float(values.std()) if values.size > 1 else 0.0


def _mostly_not_zero(frame: pl.DataFrame, name: str) -> bool:
    values = _finite(frame, name)
    return bool(2 * (values != 0).sum() > values.size)


def _finite(frame: pl.DataFrame, name: str) -> np.ndarray:
    import numpy as np
    import polars as pl

    if not (frame[name].dtype.is_numeric() or frame[name].dtype == pl.Null):
        raise ValueError(f"column {name!r} has type {frame[name].dtype}; it must hold numbers")
    values = frame[name].cast(pl.Float64).to_numpy()
    return values[np.isfinite(values)]


def _largest(frame: pl.DataFrame, name: str) -> str | None:
    """The value with most rows, the first by name of several; None where all are missing."""
    import polars as pl

    values = frame[name].cast(pl.String).alias("value").drop_nulls().to_frame()
    counted = values.group_by("value").len("rows").sort(["rows", "value"], descending=[True, False])
    return str(counted["value"][0]) if counted.height else None


# What is hurt


def _share(frame: pl.DataFrame, fault: Fault, first_day: date) -> np.ndarray:
    """(rows,) which are hurt: of every day the fault's share, up to one row."""
    import numpy as np

    hurt = np.zeros(frame.height, dtype=bool)
    for rows, random in _days_hurt(frame, fault, first_day):
        order, rounding = random.permutation(rows.size), random.random()
        hurt[rows[order[: int(fault.size * rows.size + rounding)]]] = True
    return hurt


def _days_hurt(frame: pl.DataFrame, fault: Fault, first_day: date) -> Iterator[tuple[np.ndarray, np.random.Generator]]:
    """Of every day from the first on: its rows, and chance that is the same for any frame and size of the fault."""
    import numpy as np

    days = frame["day"].to_numpy().astype("datetime64[D]")
    late = np.flatnonzero(days >= np.datetime64(first_day))
    late = late[np.argsort(days[late], kind="stable")]
    seed = zlib.crc32(f"{fault.kind}:{fault.column}".encode())
    present, starts = np.unique(days[late], return_index=True)
    for day, rows in zip(present, np.split(late, starts[1:]), strict=False):
        yield rows, np.random.default_rng([seed, int(day.astype(np.int64)) % 2**32])


def _value(frame: pl.DataFrame, fault: Fault, first_day: date) -> pl.Expr:
    """What stands in the rows that are hurt."""
    import polars as pl

    dtype, column = frame[fault.column].dtype, pl.col(fault.column)
    if fault.kind == "missing":
        return pl.lit(None, dtype=dtype)
    if fault.kind == "new_category":
        return pl.lit(_unseen(frame, fault, first_day)).cast(dtype)
    if fault.kind == "stuck_sensor":
        return pl.lit(_last_before(frame, fault, first_day), dtype=dtype)
    exact = column.cast(pl.Float64)
    return _of_type(
        exact * fault.size if fault.kind == "unit_change" else exact + fault.size * (fault.unit or 0), dtype
    )


def _of_type(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Numbers in the column's own type: whole ones are rounded, and stop at the largest that it can hold."""
    import numpy as np

    if not dtype.is_integer():
        return value.cast(dtype)
    bits = int("".join(letter for letter in str(dtype) if letter.isdigit()))
    low, high = (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1)) if dtype.is_signed_integer() else (0.0, 2.0**bits)
    return value.round().clip(low, np.nextafter(high, 0.0)).cast(dtype)


def _last_before(frame: pl.DataFrame, fault: Fault, first_day: date) -> Any:
    """The last value before the fault: that of the last row of the last day that has one."""
    import polars as pl

    known = frame.filter(
        (pl.col("day") < first_day) & pl.col(fault.column).cast(pl.Float64).is_finite().fill_null(False)
    )
    if known.is_empty():
        raise ValueError(
            f"{fault}: there is no value before {first_day} for the sensor to stick at; pass earlier rows too"
        )
    return known.sort("day", maintain_order=True)[fault.column][-1]


def _unseen(frame: pl.DataFrame, fault: Fault, first_day: date) -> str:
    import polars as pl

    earlier = frame.filter(pl.col("day") < first_day)[fault.column].cast(pl.String)
    if (earlier == NEVER_SEEN).any():
        raise ValueError(f"{fault}: rows before {first_day} hold {NEVER_SEEN!r} already; inject it into clean rows")
    return NEVER_SEEN


def _odds_shifted(frame: pl.DataFrame, fault: Fault, first_day: date) -> pl.DataFrame:
    import numpy as np
    import polars as pl

    labels = frame[fault.column].cast(pl.Float64).to_numpy()
    odd = labels[np.isfinite(labels) & (labels != 0) & (labels != 1)]
    if odd.size:
        raise ValueError(f"{fault}: it changes the odds of 0 and 1, and {odd[0]:g} was found; give the fault a unit")
    taken = np.arange(frame.height)
    for rows, random in _days_hurt(frame, fault, first_day):
        rows = rows[np.isfinite(labels[rows])]
        if rows.size:
            # By class, so that the classes' numbers are right to one row; by chance within it, so that no order shows.
            rows_by_class = rows[np.lexsort((random.random(rows.size), labels[rows]))]
            weights = np.exp(fault.size * (labels[rows_by_class] - 0.5))
            reach = np.cumsum(weights) * (rows.size / weights.sum())
            places = np.searchsorted(reach, np.arange(rows.size) + random.random(), side="left")
            taken[rows] = np.sort(rows_by_class[np.minimum(places, rows.size - 1)])
    return frame[taken]


# What is taken in


def _check_clean(frame: pl.DataFrame, features: Sequence[Feature], slices: Sequence[str]) -> None:
    needed = [*(feature.name for feature in features), *slices, "label"]
    absent = [name for name in needed if name not in frame.columns]
    if absent:
        raise ValueError(f"the clean frame lacks the columns {absent}; it has {frame.columns}")
    if frame.is_empty():
        raise ValueError("the clean frame has no rows; pass the champion's reference rows")


def _check_hurt(frame: pl.DataFrame, fault: Fault) -> None:
    import polars as pl

    needed = ["day", fault.column, *([fault.group[0]] if fault.group else [])]
    absent = [name for name in needed if name not in frame.columns]
    if absent:
        raise ValueError(f"{fault}: the frame lacks the columns {absent}; it has {frame.columns}")
    if frame["day"].dtype != pl.Date:
        raise ValueError(f"{fault}: column 'day' holds {frame['day'].dtype}; it must hold dates")
    dtype = frame[fault.column].dtype
    if fault.kind == "new_category":
        if dtype not in (pl.String, pl.Categorical):
            raise ValueError(f"{fault}: the column holds {dtype}; a new category needs text")
    elif fault.kind != "missing" and not dtype.is_numeric():
        raise ValueError(f"{fault}: the column holds {dtype}; it must hold numbers")
