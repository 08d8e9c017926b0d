"""How often monitoring cries wolf, and how soon it finds a fault.

What belongs here: both measurements, on a period in which nothing changes (``stationary.py``), so that neither is
confounded with real change. Making faults is in ``faults.py``, the monitors' errors in ``watch.py``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from lifecycle.backtesting.backtest import ByDay, World, scored
from lifecycle.backtesting.faults import Fault, inject
from lifecycle.backtesting.stationary import shuffle_days
from lifecycle.backtesting.watch import MONITORS, Monitor, Watch
from lifecycle.calendar import days_between
from lifecycle.challenger import DAY, KNOWN, LABEL, Challenger
from lifecycle.drift.harm import skill

if TYPE_CHECKING:
    import polars as pl

    from lifecycle.pipeline import Pipeline

BEFORE_DAYS = 7  # rows before a fault that are passed with it: a sensor sticks at its last value
COST_DAYS = 84  # over which a fault's cost is measured: in three weeks there may be no skill to lose, or hardly any
FOUND_WITHIN_DAYS = 3  # in which a costly fault must be found
NIGHTS = 7  # after which a fault counts as not found
COSTLY, CHEAP = 0.1, 0.02  # shares of skill: what must be found, and what is as good as no fault


def stationary_rows(rows: pl.DataFrame, seed: int, within_weekday: bool = False) -> pl.DataFrame:
    """The labelled period with its days in another order, each with all its rows and labels.

    Parameters
    ----------
    rows : see ``backtest.World``.
    """
    import polars as pl

    labelled = rows.filter(pl.col(LABEL).is_not_null().any().over(DAY))
    return shuffle_days(labelled, seed, (DAY, KNOWN), within_weekday).sort(DAY, maintain_order=True)


@dataclass(frozen=True)
class CleanRun:
    """The nights of a champion that is never replaced, in a world where nothing changes.

    Parameters
    ----------
    nights : ``day`` and for each monitor its errors, null where there are none; from the first night on which the
        monitors may raise any.
    snapshots : what the nights before a day remember, by that day.
    """

    world: World = field(repr=False)
    champion: Challenger = field(repr=False)
    nights: pl.DataFrame = field(repr=False)
    snapshots: Mapping[date, Watch] = field(repr=False)


def watch_nights(world: World, champion: Challenger, last: date, keep: Sequence[date] = ()) -> CleanRun:
    """Monitor a champion every night up to ``last``, without retraining.

    Parameters
    ----------
    keep : days before whose night the memory of the nights is kept, for faults to be injected.
    """
    import polars as pl

    watch = Watch(world.pipeline)
    found: list[dict[str, object]] = []
    snapshots: dict[date, Watch] = {}
    first = champion.day + timedelta(days=1)
    for day in days_between(first, last):
        if day in keep:
            snapshots[day] = _remembered(watch)
        since = max(first + timedelta(days=1), day + timedelta(days=1 - watch.lookback()))
        errors = watch.errors(day, champion, world.forecasts(champion, since, day + timedelta(days=1)))
        if (day - first).days + 1 >= world.pipeline.monitor.least_days:
            found.append({DAY: day, **{monitor: " ".join(texts) or None for monitor, texts in errors.items()}})
    schema: dict[str, pl.DataType] = {DAY: pl.Date(), **{monitor: pl.String() for monitor in MONITORS}}
    return CleanRun(world, champion, pl.DataFrame(found, schema=schema), snapshots)


def false_alarms(worlds: Sequence[pl.DataFrame], heard: Sequence[Monitor]) -> list[dict[str, Any]]:
    """Share of nights with an error, by monitor, over worlds in which nothing changed.

    Parameters
    ----------
    worlds : ``CleanRun.nights`` of each.
    heard : monitors of the pipeline's own policy, which are also counted together.

    Returns
    -------
    list of dict
        ``monitor``, ``share`` of nights, ``interval`` (95 %, from how the worlds differ, Student's t; None for one
        world), ``episodes`` per 365 nights (nights of error without a break count once), ``nights``, ``worlds``.
    """
    import polars as pl

    sets: dict[str, tuple[Monitor, ...]] = {monitor: (monitor,) for monitor in MONITORS}
    sets |= {"any": MONITORS, "heard by the policy": tuple(heard)}
    table = []
    for name, monitors in sets.items():
        flags = [
            nights.select(pl.any_horizontal(pl.lit(False), *(pl.col(m).is_not_null() for m in monitors)))
            .to_series()
            .to_numpy()
            for nights in worlds
        ]
        shares = [float(flag.mean()) for flag in flags if flag.size]
        begun = sum(int((flag[1:] & ~flag[:-1]).sum() + flag[0]) for flag in flags if flag.size)
        count = sum(flag.size for flag in flags)
        table.append(
            {
                "monitor": name,
                "share": sum(shares) / len(shares) if shares else None,
                "interval": _t_interval(shares),
                "episodes": 365 * begun / count if count else None,
                "nights": count,
                "worlds": len(shares),
            }
        )
    return table


def _t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    import numpy as np
    from scipy.stats import t

    if len(values) < 2:
        return None
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1)) / len(values) ** 0.5
    half = float(t.ppf(0.975, len(values) - 1)) * error
    return max(0.0, mean - half), min(1.0, mean + half)


@dataclass(frozen=True)
class Injection:
    """What came of one fault on one day.

    Parameters
    ----------
    cost : share of the champion's skill over always forecasting the mean that the fault took in ``COST_DAYS`` days;
        NaN where it had none.
    found : for each monitor, days of faulty events that were over when it first raised an error that it does not raise
        without the fault; 0 is the night on which the first faulty forecasts are issued, None: not found.
    """

    fault: Fault
    start: date
    cost: float
    found: Mapping[Monitor, int | None]

    def first(self, monitors: Sequence[Monitor]) -> int | None:
        """Days until the first of these monitors found it."""
        days = [found for monitor in monitors if (found := self.found[monitor]) is not None]
        return min(days, default=None)


def inject_and_watch(clean: CleanRun, fault: Fault, start: date, nights: int = NIGHTS) -> Injection:
    """Put a fault into everything the champion gets from a day on, and watch the nights that follow.

    A shift of the labels leaves features as they were. Those that tell of the last hours' outcomes would follow it, and
    part of the shift would be news to hindcasts: of such a shift the level as it is tells, and it takes longer.

    Parameters
    ----------
    clean : the same nights without the fault, with the memory of the nights before ``start`` minus one kept.
    nights : after which a fault counts as not found.
    """
    import polars as pl

    world, champion, pipeline = clean.world, clean.champion, clean.world.pipeline
    began, ends = start - timedelta(days=1), start + timedelta(days=max(nights, COST_DAYS) + 1)
    batch, latest = (rows.between(start - timedelta(days=BEFORE_DAYS), ends) for rows in (world.batch, world.latest))
    hurt = inject(batch, fault, start)
    # Where labels shift, the nightly rows are drawn anew, and each takes along what is hindcast of it.
    again = latest if fault.column == LABEL else inject(latest, fault, start)
    faulty = scored(pipeline, champion, *(rows.filter(pl.col(DAY) >= start) for rows in (hurt, again)))
    cost = _cost(world.forecasts(champion, start, ends), faulty, start, pipeline)
    watch = _remembered(clean.snapshots[began])
    since = max(champion.day + timedelta(days=2), start - timedelta(days=watch.lookback()))
    issued = ByDay.of(pl.concat([world.forecasts(champion, since, began), faulty]))
    without = {row[DAY]: row for row in clean.nights.iter_rows(named=True)}
    found: dict[Monitor, int | None] = dict.fromkeys(MONITORS)
    for passed in range(nights + 1):
        day = began + timedelta(days=passed)
        missing = [monitor for monitor in MONITORS if found[monitor] is None]
        if not missing or day not in without:
            break
        errors = watch.errors(day, champion, issued.between(since, day + timedelta(days=1)), missing)
        for monitor, texts in errors.items():
            if texts and without[day][monitor] is None:
                found[monitor] = passed
    return Injection(fault, start, cost, found)


def detection(
    injections: Sequence[Injection], heard: Sequence[Monitor], within: int = FOUND_WITHIN_DAYS
) -> dict[str, Any]:
    """Which faults were found, and how soon, by fault; and the share of the costly ones that were found in time.

    Parameters
    ----------
    heard : monitors of the pipeline's own policy.
    within : days.

    Returns
    -------
    dict
        ``faults``: one row per fault with mean ``cost``, ``days_median`` and ``days_worst`` (None: not found in time to
        tell) and ``found_within`` over its injections, by all monitors and by ``heard``, and the monitor that is first
        most often; how many of the injections are ``costly``, and the share of these that was ``costly_found``.
        ``costly``: of all injections that cost a tenth of the skill or more; the same fault may cost one champion much
        and another, which hardly looks at the column, nothing. ``cheap``: of those that cost next to none: what is
        found by chance, as any change of the rows tips an error now and then.
        ``unknown``: injections into weeks in which the champion had no skill to lose, which are left out.
    """
    unknown = sum(not math.isfinite(injection.cost) for injection in injections)
    injections = [injection for injection in injections if math.isfinite(injection.cost)]
    names = list(dict.fromkeys(injection.fault.name for injection in injections))
    grouped = {name: [one for one in injections if one.fault.name == name] for name in names}
    rows = [_fault_row(group, heard, within) for group in grouped.values()]
    costly = [one for one in injections if one.cost >= COSTLY]
    cheap = [one for one in injections if abs(one.cost) < CHEAP]
    return {
        "within_days": within,
        "unknown": unknown,
        "faults": rows,
        "costly": {
            "faults": len({one.fault.name for one in costly}),
            "injections": len(costly),
            "by_any_monitor": _found_share(costly, MONITORS, within),
            "by_the_policy": _found_share(costly, heard, within),
            "days_worst": _worst([one.first(MONITORS) for one in costly]),
            "missed": sorted({one.fault.name for one in costly if not _in_time(one.first(MONITORS), within)}),
        },
        "cheap": {"injections": len(cheap), "by_any_monitor": _found_share(cheap, MONITORS, within)},
    }


def _fault_row(group: Sequence[Injection], heard: Sequence[Monitor], within: int) -> dict[str, Any]:
    import numpy as np

    fault = group[0].fault
    days = [one.first(MONITORS) for one in group]
    costly = [one for one in group if one.cost >= COSTLY]
    firsts = [
        monitor
        for one in group
        for monitor in MONITORS
        if one.found[monitor] is not None and one.found[monitor] == one.first(MONITORS)
    ]
    return {
        "name": fault.name,
        "kind": fault.kind,
        "column": fault.column,
        "size": fault.size,
        "description": fault.description,
        "injections": len(group),
        "costly": len(costly),
        "costly_found": _found_share(costly, MONITORS, within),
        "cost": float(np.mean([one.cost for one in group])),
        "days_median": _median(days),
        "days_worst": _worst(days),
        "found_within": _found_share(group, MONITORS, within),
        "found_within_by_the_policy": _found_share(group, heard, within),
        "first_found_by": max(sorted(set(firsts)), key=firsts.count) if firsts else None,
        "by_monitor": {monitor: _median([one.found[monitor] for one in group]) for monitor in MONITORS},
    }


def _found_share(group: Sequence[Injection], monitors: Sequence[Monitor], within: int) -> float | None:
    return sum(_in_time(one.first(monitors), within) for one in group) / len(group) if group else None


def _in_time(days: int | None, within: int) -> bool:
    return days is not None and days <= within


def _median(days: Sequence[int | None]) -> float | None:
    """Median with what was not found at the end; None when that is in the middle."""
    import numpy as np

    middle = float(np.median([np.inf if day is None else day for day in days]))
    return middle if np.isfinite(middle) else None


def _worst(days: Sequence[int | None]) -> int | None:
    known = [day for day in days if day is not None]
    return max(known) if known and len(known) == len(days) else None


def _cost(clean: pl.DataFrame, faulty: pl.DataFrame, start: date, pipeline: Pipeline) -> float:
    """Share of skill lost; a fault in the labels is held against the mean of the labels as it left them."""
    import polars as pl

    skills = []
    for frame in (clean, faulty):
        rows = frame.filter(pl.col(LABEL).is_not_null(), pl.col(DAY) < start + timedelta(days=COST_DAYS))
        skills.append(skill(rows[LABEL].to_numpy(), rows["score"].to_numpy(), pipeline.task) or 0.0)
    return 1 - skills[1] / skills[0] if skills[0] > 0 else float("nan")


def _remembered(watch: Watch) -> Watch:
    return replace(
        watch,
        errors_by_day={day: copy(errors) for day, errors in watch.errors_by_day.items()},
        served_first=copy(watch.served_first),
        estimates=copy(watch.estimates),
        rankings=copy(watch.rankings),
    )
