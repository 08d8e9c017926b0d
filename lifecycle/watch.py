"""The watch over a champion: all monitors of a night, from the forecasts it has issued.

What belongs here: which rows each monitor looks at, and what of its report is an error of the night. The monitors are
in ``monitoring.py``, ``performance.py``, ``concept.py`` and ``outlook.py``; whether an error asks for a retraining is
in ``policy.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Literal, get_args

from lifecycle.calendar import WEEK_DAYS
from lifecycle.challenger import DAY, KNOWN, LABEL, Challenger
from lifecycle.concept import DayErrors, concept_drift, errors_by_day
from lifecycle.outlook import last_week, outlook, realised_ranking
from lifecycle.performance import realised

if TYPE_CHECKING:
    import polars as pl

    from lifecycle.estimation import Estimate
    from lifecycle.pipeline import Pipeline

Monitor = Literal["drift", "realised", "concept", "estimate"]
MONITORS: tuple[Monitor, ...] = get_args(Monitor)


@dataclass
class Watch:
    """What nights remember: the champions' daily errors, and their estimates that are to be graded.

    Parameters
    ----------
    errors_by_day : of each champion, by its day, how it erred on each day; see ``concept.errors_by_day``.
    estimates, rankings : by the last day of a week, its estimate, and what was realised.
    """

    pipeline: Pipeline
    errors_by_day: dict[date, dict[date, DayErrors]] = field(default_factory=dict)
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
        judges = {"drift": self._drift, "realised": self._realised, "concept": self._concept, "estimate": self._outlook}
        return {monitor: judges[monitor](day, champion, issued) for monitor in monitors}

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

    def _drift(self, day: date, champion: Challenger, issued: pl.DataFrame) -> tuple[str, ...]:
        import polars as pl

        from lifecycle.monitoring import Champion, monitor_night

        known = Champion(
            champion.reference,
            champion.judged,
            champion.importances,
            champion.threshold,
            lambda asked: champion.score(asked, self.pipeline),
        )
        own = pl.col("version") == champion.day
        report = monitor_night(self.pipeline, known, issued, day + timedelta(days=1), own)
        return report.errors if report else ()

    def _realised(self, day: date, champion: Challenger, issued: pl.DataFrame) -> tuple[str, ...]:
        import polars as pl

        rule = self.pipeline.monitor
        happened = issued.filter(pl.col(DAY) <= day, pl.col(DAY) > day - timedelta(days=rule.performance_days))
        return realised(happened, rule, champion.reference, self.pipeline.task, judged=champion.judged).errors

    def _concept(self, day: date, champion: Challenger, issued: pl.DataFrame) -> tuple[str, ...]:
        import polars as pl

        rule, task = self.pipeline.monitor, self.pipeline.task
        if champion.day not in self.errors_by_day:
            self.errors_by_day[champion.day] = errors_by_day(champion.judged, task)
        since = day - timedelta(days=self.lookback(["concept"]))
        own = issued.filter(pl.col("version") == champion.day, pl.col(DAY) <= day, pl.col(DAY) > since)
        seen = self.errors_by_day[champion.day]
        seen.update(errors_by_day(own, task))
        judged = champion.judged[DAY].max()
        recent = {when: errors for when, errors in seen.items() if when > day - timedelta(days=rule.concept_days)}
        kept = {when: errors for when, errors in seen.items() if when <= judged} | recent  # type: ignore[operator]
        return concept_drift(kept, rule, day, self.pipeline.label.longest_wait_days).errors

    def _outlook(self, day: date, champion: Challenger, issued: pl.DataFrame) -> tuple[str, ...]:
        import polars as pl

        pipeline = self.pipeline
        week_to = day - timedelta(days=pipeline.label.longest_wait_days)
        happened = issued.filter(pl.col(DAY) <= week_to)
        self.rankings[week_to] = realised_ranking(last_week(happened, week_to), pipeline.task)
        past = [
            (made, self.rankings.get(last))
            for last, made in sorted(self.estimates.items())
            if last <= week_to and (week_to - last).days % WEEK_DAYS == 0
        ]
        own = issued.filter(pl.col("version") == champion.day)
        found = outlook(
            champion.judged,
            own,
            past,
            champion.reference,
            pipeline.monitor,
            pipeline.task,
            day,
            pipeline.gate.window_days,
        )
        if found.estimate is not None and found.estimate.last_day is not None:
            self.estimates[found.estimate.last_day] = found.estimate
        return found.errors
