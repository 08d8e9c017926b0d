"""The declaration of features: entities, window aggregates and latest values.

What belongs here: what a feature *is*. How it is computed is in ``windows.py``; how Feast sees it is in
``feature_repo/``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import polars as pl

Function = Literal["mean", "sum", "count"]
FeatureType = Literal["float", "int", "string"]


@dataclass(frozen=True)
class Feature:
    """One column that a view offers to models."""

    name: str
    type: FeatureType
    description: str
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True)
class Aggregate:
    """A function of one value over trailing windows, e.g. the mean delay of the last 3 hours.

    Parameters
    ----------
    value : name of what is aggregated; a column of the source table unless ``expression`` computes it. Booleans
        count as 0 and 1. Not used by ``count``.
    expression : computes the value from the table's columns.
    """

    function: Function
    windows: tuple[timedelta, ...]
    value: str = ""
    expression: Callable[[], pl.Expr] | None = None
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True)
class WindowView:
    """Trailing-window aggregates of one entity, refreshed on every full hour at which they change.

    The value at a full hour t covers the facts with t - window < known_at <= t that were available at t.
    A row is written for every hour at which a fact enters or leaves a window, so the latest row at any
    moment is exact as of the last full hour.

    Parameters
    ----------
    keys : the entity's join keys, columns of ``table``.
    table : name of the source table.
    owner : who answers for it; the pipeline's owner when not given.
    ttl : a value older than this is missing; at least the longest window.
    """

    name: str
    keys: tuple[str, ...]
    table: str
    aggregates: tuple[Aggregate, ...]
    description: str
    owner: str = ""
    ttl: timedelta = timedelta(days=31)

    def __post_init__(self) -> None:
        if self.ttl < self.longest:
            raise ValueError(f"view {self.name!r}: ttl {self.ttl} is shorter than its longest window {self.longest}")

    @property
    def longest(self) -> timedelta:
        return max(window for aggregate in self.aggregates for window in aggregate.windows)

    @property
    def features(self) -> tuple[Feature, ...]:
        return tuple(
            Feature(
                name=aggregate_name(self, aggregate, window),
                type="int" if aggregate.function == "count" else "float",
                description=_describe(self, aggregate, window),
                minimum=0.0 if aggregate.function == "count" else aggregate.minimum,
                maximum=aggregate.maximum,
            )
            for aggregate in self.aggregates
            for window in aggregate.windows
        )


@dataclass(frozen=True)
class LatestView:
    """The latest known row of one entity: the weather at an airport, the seats of an aircraft.

    Parameters
    ----------
    columns : (column of the table, feature) pairs.
    needs : columns that a fact must have a value in to count; a fact without leaves the one before it in place.
    """

    name: str
    keys: tuple[str, ...]
    table: str
    columns: tuple[tuple[str, Feature], ...]
    description: str
    owner: str = ""
    ttl: timedelta | None = None
    needs: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[Feature, ...]:
        return tuple(feature for _, feature in self.columns)


View = WindowView | LatestView


@dataclass(frozen=True)
class Lookup:
    """A join key that nobody gives and that is found: the aircraft that last flew under a flight's number.

    The latest view is read first, as of the prediction time like any other; what it says is the key by which other
    views are read. Its feature is no input of the model.

    Parameters
    ----------
    key : the join key that is found.
    view, feature : name of the latest view that tells it, and its feature.
    """

    key: str
    view: str
    feature: str


@dataclass(frozen=True)
class Derived:
    """A feature that is computed when it is asked for; see ``derived.py``.

    Parameters
    ----------
    expression : makes the expression that computes it; None for a column of the request, as it is.
    """

    feature: Feature
    expression: Callable[[], pl.Expr] | None = None

    @property
    def name(self) -> str:
        return self.feature.name


def aggregate_name(view: WindowView, aggregate: Aggregate, window: timedelta) -> str:
    """Name of an aggregate's column, unique over all views: ``<view>_<value>_<function>_<window>``."""
    parts = [view.name, aggregate.value, aggregate.function, window_label(window)]
    return "_".join(part for part in parts if part)


def window_label(window: timedelta) -> str:
    """Short name of a window: whole days from two days on, hours below.

    Examples
    --------
    >>> window_label(timedelta(hours=24)), window_label(timedelta(days=7))
    ('24h', '7d')
    """
    hours = int(window.total_seconds() // 3600)
    return f"{hours // 24}d" if hours % 24 == 0 and hours > 24 else f"{hours}h"


def feature_names(views: Iterable[View]) -> list[str]:
    """The names of all features of ``views`` in declared order.

    Raises
    ------
    ValueError
        If two views offer a feature of the same name.
    """
    names = [feature.name for view in views for feature in view.features]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ValueError(f"features declared more than once: {doubled}")
    return names


def _describe(view: WindowView, aggregate: Aggregate, window: timedelta) -> str:
    subject = f"{aggregate.function} of {aggregate.value}" if aggregate.value else "number of facts"
    return f"{subject} over the last {window_label(window)} per {' × '.join(view.keys)}"
