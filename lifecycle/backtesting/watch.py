"""The watch over a champion: all monitors of a night, from the forecasts it has issued.

What belongs here: which rows each monitor looks at, and what of its report is an error of the night. The monitors are
in ``drift`` and ``performance``; whether an error asks for a retraining is in ``lifecycle/policy.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Literal, get_args

from lifecycle.calendar import WEEK_DAYS
from lifecycle.challenger import DAY, KNOWN, LABEL, Challenger
from lifecycle.performance.concept import DayErrors, concept_drift, errors_by_day
from lifecycle.performance.outlook import last_week, outlook, realised_ranking
from lifecycle.performance.promise import Promise, first_days, promise
from lifecycle.performance.realised import realised

if TYPE_CHECKING:
    import polars as pl

    from lifecycle.performance.estimation import Estimate
    from lifecycle.pipeline import Pipeline

Monitor = Literal["drift", "realised", "concept", "estimate"]
MONITORS: tuple[Monitor, ...] = get_args(Monitor)


@dataclass
class Watch:
    """What nights remember: the champions' daily errors and first days, and their estimates that are to be graded.

    Parameters
    ----------
    errors_by_day : of each champion, by its day, how it erred on each day; see ``concept.errors_by_day``.
    served_first : of each champion, by its day, its forecasts of its first days; see ``promise.first_days``.
    estimates, rankings : by the last day of a week, its estimate, and what was realised.
    """

    pipeline: Pipeline
    errors_by_day: dict[date, dict[date, DayErrors]] = field(default_factory=dict)
    served_first: dict[date, pl.DataFrame] = field(default_factory=dict)
    estimates: dict[date, Estimate] = field(default_factory=dict)
    rankings: dict[date, float | None] = field(default_factory=dict)

    def errors(
        self, day: date, champion: Challenger, issued: pl.DataFrame, monitors: Iterable[Monitor] = MONITORS
    ) -> dict[Monitor, tuple[str, ...]]:
        """The errors of each monitor at the close of a day.

        Parameters
        ----------
        issued : (rows,) forecasts up to those of tomorrow, in order of days, at least of ``lookback`` days: ``day`` of
            the event, ``label``, ``known_day``, ``score``, ``version`` (day of the champion that made it), the features
            and slices. Labels that were not known at the close are not looked at.
        monitors : those that are heard; the others say nothing and cost nothing.
        """
        import polars as pl

        known = pl.when(pl.col(KNOWN) <= day).then(pl.col(LABEL)).alias(LABEL)
        issued = issued.filter(pl.col(DAY) <= day + timedelta(days=1)).with_columns(known)
        night = _Night(self, day, champion, issued)
        judges = {
            "drift": night.drift,
            "realised": night.realised,
            "concept": night.concept,
            "estimate": night.outlook,
        }
        return {monitor: judges[monitor]() for monitor in monitors}

    def lookback(self, monitors: Iterable[Monitor] = MONITORS) -> int:
        """Days of forecasts that these monitors look at."""
        rule = self.pipeline.monitor
        needed = {
            "drift": rule.drift_lookback_days,
            "realised": rule.performance_days + 1,
            "concept": 1 + WEEK_DAYS + self.pipeline.label.longest_wait_days,
            "estimate": 1 + max(WEEK_DAYS + self.pipeline.label.longest_wait_days, self.pipeline.gate.window_days),
        }
        return max((needed[monitor] for monitor in monitors), default=0)


@dataclass(frozen=True)
class _Night:
    """A night of the watch.

    Parameters
    ----------
    issued : see ``Watch.errors``, with the labels known at the close of the day.
    """

    watch: Watch
    day: date
    champion: Challenger
    issued: pl.DataFrame

    @property
    def pipeline(self) -> Pipeline:
        return self.watch.pipeline

    @property
    def judged_since(self) -> date:
        """First day of those whose realised performance is judged."""
        return self.day - timedelta(days=self.pipeline.monitor.performance_days - 1)

    @property
    def own(self) -> pl.DataFrame:
        """The champion's forecasts."""
        import polars as pl

        return self.issued.filter(pl.col("version") == self.champion.day)

    def concept(self) -> tuple[str, ...]:
        import polars as pl

        rule, task, champion, day = self.pipeline.monitor, self.pipeline.task, self.champion, self.day
        remembered = self.watch.errors_by_day
        if champion.day not in remembered:
            remembered[champion.day] = errors_by_day(champion.judged, task)
        since = day - timedelta(days=self.watch.lookback(["concept"]))
        seen = remembered[champion.day]
        seen.update(errors_by_day(self.own.filter(pl.col(DAY) <= day, pl.col(DAY) > since), task))
        judged = champion.judged[DAY].max()
        recent = {when: errors for when, errors in seen.items() if when > day - timedelta(days=rule.concept_days)}
        kept = {when: errors for when, errors in seen.items() if when <= judged} | recent  # type: ignore[operator]
        return concept_drift(kept, rule, day, self.pipeline.label.longest_wait_days).errors

    @cached_property
    def promise(self) -> Promise:
        import polars as pl

        first, last = first_days(self.champion.judged)
        seen = self.own.filter(pl.col(DAY).is_between(first, last)).select(DAY, "score", LABEL, KNOWN)
        before = self.watch.served_first.get(self.champion.day, seen.clear())
        # Labels that were late are in what is told now, and days that are no longer told are remembered.
        kept = pl.concat([before.join(seen.select(DAY).unique(), on=DAY, how="anti"), seen])
        self.watch.served_first[self.champion.day] = kept
        wait = self.pipeline.label.longest_wait_days
        return promise(self.champion.judged, kept, self.judged_since, self.pipeline.task, wait)

    def drift(self) -> tuple[str, ...]:
        import polars as pl

        from lifecycle.drift.monitoring import Champion, monitor_night

        champion = self.champion
        known = Champion(
            champion.reference,
            champion.judged,
            champion.importances,
            champion.threshold,
            lambda asked: champion.score(asked, self.pipeline),
        )
        own = pl.col("version") == champion.day
        report = monitor_night(self.pipeline, known, self.issued, self.day + timedelta(days=1), own)
        return report.errors if report else ()

    def realised(self) -> tuple[str, ...]:
        import polars as pl

        happened = self.own.filter(pl.col(DAY).is_between(self.judged_since, self.day))
        rule, task = self.pipeline.monitor, self.pipeline.task
        return realised(happened, rule, self.champion.reference, task, promise=self.promise).errors

    def outlook(self) -> tuple[str, ...]:
        import polars as pl

        pipeline, watch = self.pipeline, self.watch
        week_to = self.day - timedelta(days=pipeline.label.longest_wait_days)
        happened = self.issued.filter(pl.col(DAY) <= week_to)
        watch.rankings[week_to] = realised_ranking(last_week(happened, week_to, "version"), pipeline.task)
        remembered = self.day - timedelta(days=pipeline.monitor.concept_days)
        past = [
            (made, watch.rankings.get(last))
            for last, made in sorted(watch.estimates.items())
            if remembered < last <= week_to and (week_to - last).days % WEEK_DAYS == 0
        ]
        found = outlook(
            self.champion.judged,
            self.own,
            past,
            self.promise,
            pipeline.monitor,
            pipeline.task,
            self.day,
            pipeline.gate.window_days,
        )
        if found.estimate is not None and found.estimate.last_day is not None:
            watch.estimates[found.estimate.last_day] = found.estimate
        return found.errors
