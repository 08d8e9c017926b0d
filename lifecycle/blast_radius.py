"""The blast radius: what was made from some partitions, directly or through others.

What belongs here: the walk down the lineage, and the test of which rows may have read a stored row of some days. What
the lineage is, and what was in fact materialized, is looked up by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from lifecycle.spine import PREDICTION_TIME

if TYPE_CHECKING:
    import polars as pl

    from lifecycle.calendar import Calendar

DAY = timedelta(days=1)
STORED_AT = "_stored_at"


@dataclass(frozen=True)
class Edge:
    """One asset that is made from another.

    Parameters
    ----------
    earliest, latest : day D of ``upstream`` goes into the days D+earliest to D+latest of ``downstream``; ``latest``
        None: into all later ones.
    why : how it is read, in words.

    Examples
    --------
    >>> Edge("validated/weather", "features/wind", 0, 2, "windows of 2 days").reached([date(2013, 7, 8)])
    [(datetime.date(2013, 7, 8), datetime.date(2013, 7, 10))]
    """

    upstream: str
    downstream: str
    earliest: int = 0
    latest: int | None = 0
    why: str = ""

    def reached(self, days: Iterable[date]) -> list[tuple[date, date]]:
        """The spans of days of the downstream asset, one for each day."""
        return [
            (day + self.earliest * DAY, date.max if self.latest is None else day + self.latest * DAY) for day in days
        ]


@dataclass(frozen=True)
class Because:
    """Why a partition is touched: which days of which asset it was made from, and how they were read.

    Parameters
    ----------
    rows : how many of its rows may have read them; None where that was not counted.
    """

    upstream: str
    first: date
    last: date
    why: str = ""
    rows: int | None = None


@dataclass(frozen=True)
class Touch:
    """A partition within the blast radius.

    Parameters
    ----------
    because : empty when the partition was named itself.
    rows : how many of its rows are touched; None where all are, or nobody counted.
    """

    day: date
    because: tuple[Because, ...] = ()
    rows: int | None = None


Touches = dict[str, dict[date, Touch]]
# What is touched so far, and the days that may be: those that are, as the rows themselves show.
Evidence = Callable[[Mapping[str, Mapping[date, Touch]], Mapping[date, Touch]], Mapping[date, Touch]]


def walk(
    named: Mapping[str, Collection[date]],
    edges: Sequence[Edge],
    materialized: Mapping[str, Collection[date]],
    evidence: Mapping[str, Evidence] | None = None,
) -> Touches:
    """Everything that was made from the partitions named.

    Parameters
    ----------
    named : days of each asset to start from.
    edges : one from an asset to itself says that a day reads days before it.
    materialized : days of each asset that exist; nothing else counts, nor is walked through.
    evidence : looks closer, asset by asset: of the days that the edges allow it returns those that are touched. It may
        add others.

    Returns
    -------
    dict
        Touched days of each asset, in the order in which assets are made.

    Raises
    ------
    ValueError
        If assets are made from each other in a circle.

    Examples
    --------
    >>> first, second = date(2013, 7, 8), date(2013, 7, 9)
    >>> edges = [Edge("raw", "clean"), Edge("clean", "features", 0, 1)]
    >>> found = walk({"raw": [first]}, edges, {"raw": [first], "clean": [first], "features": [first, second]})
    >>> {asset: ranges(days) for asset, days in found.items()}
    {'raw': '2013-07-08', 'clean': '2013-07-08', 'features': '2013-07-08 to 2013-07-09'}
    """
    touched: Touches = {}
    for asset in in_order(edges, named):
        exists = frozenset(materialized.get(asset, ()))
        start = {day: Touch(day) for day in named.get(asset, ()) if day in exists}
        incoming = [edge for edge in edges if edge.downstream == asset != edge.upstream and touched.get(edge.upstream)]
        candidates = {day: touch for day, touch in _candidates(incoming, touched, exists).items() if day not in start}
        if evidence and asset in evidence and (candidates or start):
            found = evidence[asset]({**touched, asset: start}, candidates)
            candidates = {day: touch for day, touch in found.items() if day in exists and day not in start}
        candidates |= _own_past(asset, edges, start.keys() | candidates.keys(), exists)
        if start or candidates:
            touched[asset] = dict(sorted((start | candidates).items()))
    return touched


def in_order(edges: Sequence[Edge], also: Iterable[str] = ()) -> list[str]:
    """All assets, each after those it is made from.

    Raises
    ------
    ValueError
        If there is no such order.
    """
    waiting: dict[str, set[str]] = {asset: set() for asset in also}
    for edge in edges:
        waiting.setdefault(edge.upstream, set())
        waiting.setdefault(edge.downstream, set()).update({edge.upstream} - {edge.downstream})
    done: dict[str, None] = {}
    while waiting:
        ready = [asset for asset, needs in waiting.items() if not needs - done.keys()]
        if not ready:
            raise ValueError(f"assets are made from each other in a circle: {sorted(waiting)}")
        done |= dict.fromkeys(ready)
        waiting = {asset: needs for asset, needs in waiting.items() if asset not in done}
    return list(done)


def rows_that_read(
    rows: pl.DataFrame,
    keys: Sequence[str],
    stored: pl.DataFrame,
    days: Collection[date],
    ttl: timedelta | None,
    calendar: Calendar,
) -> pl.Series:
    """Which rows may have been given a value that was stored on some days.

    A row is given the latest stored row of its entity that could be had at its prediction time and is not older than
    ``ttl``. So it has not read one of the days if a later one was there that is of no such day. A row of an entity
    that has nothing stored since counts as having read them, also where the days hold nothing of the entity: what was
    lost is mended too.

    Parameters
    ----------
    rows : (rows,) ``keys`` and the prediction time.
    stored : what is stored on other days: ``keys``, ``event_timestamp`` and ``created``.
    days : days whose stored rows are in question.
    ttl : age from which on a stored row is not given any more; None for never.

    Returns
    -------
    (rows,) bool
    """
    import polars as pl

    spans = pl.DataFrame(
        {
            "_open": [calendar.open(day) for day in sorted(days)],
            "_close": [calendar.close(day) for day in sorted(days)],
        },
        schema=dict.fromkeys(("_open", "_close"), pl.Datetime("us", "UTC")),
    )
    # What came late may lie anywhere between; not trusting it to be the latest, some rows too many are found.
    on_time = stored.filter(pl.col("created") == pl.col("event_timestamp")).select(
        *keys, pl.col("event_timestamp").alias(STORED_AT)
    )
    asked = pl.col(PREDICTION_TIME)
    horizon = pl.min_horizontal("_close", asked)
    found = (
        rows.select(*keys, PREDICTION_TIME)
        .with_row_index("_row")
        .sort(PREDICTION_TIME)
        .join_asof(spans, left_on=PREDICTION_TIME, right_on="_open", allow_exact_matches=False)
        .join_asof(
            on_time.sort(STORED_AT),
            left_on=PREDICTION_TIME,
            right_on=STORED_AT,
            by=list(keys),
            check_sortedness=False,
        )
        .with_columns(
            (
                pl.col("_open").is_not_null()
                & (pl.lit(value=True) if ttl is None else horizon >= asked - ttl)
                & (pl.col(STORED_AT).is_null() | (pl.col(STORED_AT) <= horizon))
                & pl.all_horizontal(pl.col(name).is_not_null() for name in keys)
            ).alias("_read")
        )
    )
    return found.sort("_row")["_read"].fill_null(value=False)


def ranges(days: Iterable[date], most: int = 4) -> str:
    """Days as people write them.

    Examples
    --------
    >>> ranges([date(2013, 7, 8), date(2013, 7, 9), date(2013, 7, 12)])
    '2013-07-08 to 2013-07-09, 2013-07-12'
    """
    runs = contiguous_runs(days)
    named = [str(first) if first == last else f"{first} to {last}" for first, last in runs[:most]]
    return ", ".join(named) + (f" and {len(runs) - most} more ranges to {runs[-1][1]}" if len(runs) > most else "")


def contiguous_runs(days: Iterable[date]) -> list[tuple[date, date]]:
    """First and last of every run of days without a gap, in order."""
    ordered = sorted(set(days))
    starts = [day for before, day in pairwise([date.min, *ordered]) if day - before != DAY]
    ends = [day for day, after in pairwise([*ordered, date.max]) if after - day != DAY]
    return list(zip(starts, ends, strict=True))


def _own_past(
    asset: str, edges: Sequence[Edge], touched: Collection[date], exists: frozenset[date]
) -> dict[date, Touch]:
    """The days that read touched days of the same asset, and those that read these in turn."""
    reached, found = set(touched), {}
    for edge in edges:
        if edge.upstream == edge.downstream == asset:
            for day in sorted(exists - reached):
                read = [
                    before for before in reached if any(first <= day <= last for first, last in edge.reached([before]))
                ]
                if read:
                    found[day] = Touch(day, (Because(asset, min(read), max(read), edge.why),))
                    reached.add(day)
    return found


def _candidates(incoming: Sequence[Edge], touched: Touches, exists: frozenset[date]) -> dict[date, Touch]:
    """The days that the edges reach, with the reasons."""
    read: dict[date, dict[int, list[date]]] = {}
    for number, edge in enumerate(incoming):
        upstream = sorted(touched[edge.upstream])
        for day, (first, last) in zip(upstream, edge.reached(upstream), strict=True):
            for reached in exists:
                if first <= reached <= last:
                    read.setdefault(reached, {}).setdefault(number, []).append(day)
    return {
        day: Touch(
            day,
            tuple(
                Because(incoming[number].upstream, min(days), max(days), incoming[number].why)
                for number, days in by_edge.items()
            ),
        )
        for day, by_edge in read.items()
    }


@dataclass(frozen=True)
class TouchedVersion:
    """A model version that learnt from touched data, or was named.

    Parameters
    ----------
    role : its alias, "" for none.
    learnt, learnt_of : touched rows among those it has learnt from, and all of these; None where not counted.
    judged, judged_of : the same of the rows the gate judged it on.
    rewritten : whether what it read was written again since: it then learnt from what stood there before. None where
        that cannot be told.
    forecasts : number of forecasts it has made; ``days``: the days at whose close it made them.
    """

    number: int
    day: date
    trained_through: date
    role: str
    learnt: int | None
    learnt_of: int | None
    judged: int | None
    judged_of: int | None
    rewritten: bool | None
    forecasts: int
    days: tuple[date, ...] = field(repr=False)


@dataclass(frozen=True)
class Radius:
    """What is touched.

    Parameters
    ----------
    what : what was asked about, in the words of the asker; ``named``: the partitions this means.
    partitions : touched days of each asset, in the order in which assets are made.
    sizes : rows of every touched partition that is a table.
    versions : touched model versions.
    live : version that forecast on each touched day of the predictions; None where none served.
    champion : the version that serves now.
    """

    what: str
    named: Mapping[str, tuple[date, ...]]
    partitions: Touches
    sizes: Mapping[str, Mapping[date, int]]
    versions: tuple[TouchedVersion, ...]
    live: Mapping[date, int | None]
    champion: int | None

    @property
    def champion_version(self) -> TouchedVersion | None:
        """The champion, if it is touched."""
        return next((version for version in self.versions if version.number == self.champion), None)

    def touched_rows(self, asset: str) -> tuple[int | None, int | None]:
        """Touched rows of an asset's touched partitions, and all rows of these; None where not counted."""
        touches, sizes = self.partitions[asset], self.sizes.get(asset)
        if sizes is None:
            return None, None
        total = sum(sizes.get(day, 0) for day in touches)
        counted = [sizes.get(day, 0) if touch.rows is None else touch.rows for day, touch in touches.items()]
        return sum(counted), total

    def reasons(self, asset: str) -> list[str]:
        """Why an asset's partitions are touched, each reason once."""
        touches = self.partitions[asset].values()
        found: dict[str, None] = {}
        for touch in touches:
            for because in touch.because:
                found[f"{because.upstream}{f', {because.why}' if because.why else ''}"] = None
        return ["named", *found] if any(not touch.because for touch in touches) else list(found)
