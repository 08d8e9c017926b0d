"""The policy backtest: a past period night by night, under a policy, in memory.

What belongs here: the simulation. Nothing that is decided at the close of a day comes from after it. What the
forecasts turned out to be worth is in ``results.py``; false alarms and faults are in ``alarms.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING

from lifecycle.backtesting.watch import Monitor, Watch
from lifecycle.calendar import days_between
from lifecycle.challenger import DAY, KEY, KNOWN, LABEL, MOMENT, Challenger, meet, probe_challenger
from lifecycle.performance.hindcasts import HINDCAST, with_hindcasts
from lifecycle.policy import Night, after_probe, causes, needs_probe
from lifecycle.retraining import Cause, Retrain, State, Wait, decide

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from lifecycle.pipeline import Pipeline, RetrainPolicy
    from lifecycle.probe import Probe

Train = Callable[[date], Challenger]
OWN = "own"


@dataclass(frozen=True)
class Policy:
    """A policy to be simulated.

    Parameters
    ----------
    monthly : whether the calendar also asks at the close of the last day of every month.
    """

    name: str
    rule: RetrainPolicy
    monthly: bool = False

    @property
    def monitors(self) -> tuple[Monitor, ...]:
        """The monitors that it hears; the others need not be computed."""
        heard: list[Monitor] = []
        if self.rule.on_drift:
            heard.append("drift")
        if self.rule.on_performance:
            heard += ["realised", "concept"]
        if self.rule.on_estimate:
            heard.append("estimate")
        return tuple(heard)


def policies(own: RetrainPolicy) -> list[Policy]:
    """The policies that are compared: never, by the calendar, by one monitor each, and the pipeline's own.

    A policy of one monitor takes the own policy's cool-down, and has no probe.
    """
    silent = replace(
        own,
        on_drift=False,
        on_performance=False,
        on_estimate=False,
        every_days=None,
        new_labels=None,
        probe_confidence=None,
    )
    return [
        Policy("never", silent),
        Policy("monthly", silent, monthly=True),
        Policy("weekly", replace(silent, every_days=7)),
        Policy("drift", replace(silent, on_drift=True)),
        Policy("performance", replace(silent, on_performance=True)),
        Policy("estimate", replace(silent, on_estimate=True)),
        Policy(OWN, own),
    ]


@dataclass(frozen=True)
class Retraining:
    """A night on which a policy asked, was heard, and probed or trained.

    Parameters
    ----------
    kind, detail : the cause that is named first; ``also`` are the kinds of the others.
    promoted : the gate's answer; None where the probe advised against training.
    improvement : mean loss that the gate saw saved; None without a champion.
    cpu_seconds : of the training; ``probe_cpu_seconds`` of the probe.
    """

    day: date
    kind: str
    detail: str
    also: tuple[str, ...]
    probe: Probe | None
    probe_cpu_seconds: float
    promoted: bool | None
    improvement: float | None
    reason: str
    cpu_seconds: float


@dataclass(frozen=True)
class Simulation:
    """What happened under a policy.

    Parameters
    ----------
    forecasts : (rows,) as issued: ``event_key``, ``day`` of the event, ``label``, ``known_day``, ``score``,
        ``threshold``, ``version`` (day of the model).
    nights : (nights,) ``day`` and for each monitor that was heard its errors, null where there are none.
    champion : what serves in the end.
    """

    policy: Policy
    forecasts: pl.DataFrame = field(repr=False)
    retrainings: tuple[Retraining, ...]
    nights: pl.DataFrame = field(repr=False)
    champion: Challenger | None = field(repr=False)


@dataclass(frozen=True)
class ByDay:
    """Rows in order of their days; those of a span are found without looking at all."""

    rows: pl.DataFrame
    days: np.ndarray

    @classmethod
    def of(cls, rows: pl.DataFrame) -> ByDay:
        rows = rows if rows[DAY].is_sorted() else rows.sort(DAY, maintain_order=True)
        return cls(rows, rows[DAY].to_numpy().astype("datetime64[D]"))

    def between(self, first: date, last: date) -> pl.DataFrame:
        """The rows of the days ``first`` to ``last``, both included."""
        import numpy as np

        low = int(np.searchsorted(self.days, np.datetime64(first), side="left"))
        high = int(np.searchsorted(self.days, np.datetime64(last), side="right"))
        return self.rows.slice(low, max(high - low, 0))


@dataclass
class World:
    """The period, and the models that can be trained in it.

    Parameters
    ----------
    rows : every event at every moment, see ``pipelines.backtest_rows.load_rows``.
    train : makes the challenger of a day from what was known at its close; asked again, it gives the same.
    """

    pipeline: Pipeline
    rows: pl.DataFrame
    train: Train
    batch: ByDay = field(init=False)
    latest: ByDay = field(init=False)
    _scored: dict[date, ByDay] = field(default_factory=dict)

    def __post_init__(self) -> None:
        import polars as pl

        spine = self.pipeline.spine
        self.batch, self.latest = (
            ByDay.of(self.rows.filter(pl.col(MOMENT) == moment.name).drop(MOMENT))
            for moment in (spine.moments[0], spine.last_moment)
        )

    def forecasts(self, champion: Challenger, first: date, last: date) -> pl.DataFrame:
        """What a champion forecasts of the events of some days, in the nightly batch, with its hindcasts."""
        if champion.day not in self._scored:
            later = [rows.between(champion.day + timedelta(days=1), date.max) for rows in (self.batch, self.latest)]
            self._scored[champion.day] = ByDay.of(scored(self.pipeline, champion, *later))
        return self._scored[champion.day].between(first, last)


def scored(pipeline: Pipeline, champion: Challenger, rows: pl.DataFrame, latest: pl.DataFrame) -> pl.DataFrame:
    """Rows of the nightly batch with the champion's ``score``, ``threshold``, ``version`` and ``hindcast``.

    Parameters
    ----------
    latest : (rows,) of the same events at the last moment, each once.
    """
    import polars as pl

    forecasts = rows.with_columns(
        pl.Series("score", champion.score(rows, pipeline), dtype=pl.Float64),
        pl.lit(champion.threshold, dtype=pl.Float64).alias("threshold"),
        pl.lit(champion.day).alias("version"),
    )
    said = pl.Series(HINDCAST, champion.score(latest, pipeline) if latest.height else [], dtype=pl.Float64)
    return with_hindcasts(forecasts, latest.select(KEY, said), [KEY])


@dataclass
class _Run:
    """Where a simulation stands.

    Parameters
    ----------
    served : by day of the event, who forecast it.
    """

    world: World
    policy: Policy
    watch: Watch
    champion: Challenger | None = None
    state: State = field(default_factory=State)
    served: dict[date, Challenger] = field(default_factory=dict)
    retrainings: list[Retraining] = field(default_factory=list)
    nights: list[dict[str, object]] = field(default_factory=list)

    def issued(self, first: date, last: date) -> pl.DataFrame:
        """The forecasts about some days, by whoever served."""
        import polars as pl

        spans: list[tuple[Challenger, date, date]] = []
        for day in days_between(first, last):
            by = self.served.get(day)
            if by is None:
                continue
            if spans and spans[-1][0] is by and spans[-1][2] == day - timedelta(days=1):
                spans[-1] = (by, spans[-1][1], day)
            else:
                spans.append((by, day, day))
        parts = [self.world.forecasts(by, start, end) for by, start, end in spans]
        return pl.concat(parts) if parts else self.world.batch.rows.clear()


def simulate(
    world: World, policy: Policy, first: date, last: date, say: Callable[[str], None] = lambda _: None
) -> Simulation:
    """Go through the nights ``first`` to ``last`` under a policy.

    Every night: the champion of yesterday forecasts tomorrow; its monitors are held against what is known by the
    close; the policy decides, with its probe if it has one; a training is judged by the gate, and what it promotes
    forecasts from the next night on. The first night trains the first model, whatever the policy.

    Parameters
    ----------
    say : told of every retraining and of every month.

    Returns
    -------
    Simulation
        The same for the same world and policy.
    """
    import polars as pl

    run = _Run(world, policy, Watch(world.pipeline))
    for day in days_between(first, last):
        if run.champion is not None:
            run.served[day + timedelta(days=1)] = run.champion
        night = _night(run, day)
        answer = decide(_causes(run, night, day), run.state, policy.rule, day)
        if isinstance(answer, Retrain):
            _retrain(run, answer, day)
            say(f"[{policy.name}] {day}: {_told(run.retrainings[-1])}")
        if (day + timedelta(days=1)).day == 1:
            say(f"[{policy.name}] nights up to {day} are done")
    columns = [KEY, DAY, LABEL, KNOWN, "score", "threshold", "version"]
    forecasts = run.issued(first, last + timedelta(days=1))
    schema: dict[str, pl.DataType] = {DAY: pl.Date(), **{monitor: pl.String() for monitor in policy.monitors}}
    return Simulation(
        policy,
        forecasts.select(columns) if run.served else forecasts,
        tuple(run.retrainings),
        pl.DataFrame(run.nights, schema=schema),
        run.champion,
    )


def _night(run: _Run, day: date) -> Night:
    """What the monitors that the policy hears have to say."""
    import polars as pl

    monitors = run.policy.monitors
    found: dict[Monitor, tuple[str, ...]] = dict.fromkeys(monitors, ())
    if run.champion is not None and monitors:
        since = day + timedelta(days=1 - run.watch.lookback(monitors))
        found = run.watch.errors(day, run.champion, run.issued(since, day + timedelta(days=1)), monitors)
    run.nights.append({DAY: day, **{monitor: " ".join(texts) or None for monitor, texts in found.items()}})
    new_labels, last = 0, run.state.last_training_day
    if run.policy.rule.new_labels is not None and last is not None:
        known = run.world.batch.rows.select(pl.col(KNOWN).is_between(last + timedelta(days=1), day).sum())
        new_labels = int(known.item())
    performance = found.get("realised", ()) + found.get("concept", ())
    return Night(day, found.get("drift", ()), performance, found.get("estimate", ()), new_labels)


def _causes(run: _Run, night: Night, day: date) -> list[Cause]:
    name = run.world.pipeline.name
    if run.champion is None:
        return [Cause("check", "no model serves", day, f"{name}-first-{day}")]
    asked = causes(name, night, run.state, run.policy.rule)
    tomorrow = day + timedelta(days=1)
    if run.policy.monthly and tomorrow.day == 1:
        asked.append(Cause("schedule", f"monthly, {tomorrow:%Y-%m}", day, f"{name}-month-{tomorrow:%Y-%m}"))
    return asked


def _retrain(run: _Run, answer: Retrain, day: date) -> None:
    """Probes if the policy wants it, trains unless the probe is against it, and asks the gate."""
    world, rule = run.world, run.policy.rule
    probed, probe_cpu = None, 0.0
    asked = (answer.cause.kind, answer.cause.detail, tuple(cause.kind for cause in answer.also))
    if run.champion is not None and needs_probe(answer, run.state, rule):
        probed, probe_cpu = probe_challenger(world.pipeline, rule, run.champion, world.rows, day)
        advice = after_probe(answer, probed, rule)
        if isinstance(advice, Wait):
            run.state = replace(run.state, last_probe_day=day)
            run.retrainings.append(Retraining(day, *asked, probed, probe_cpu, None, probed.gain, advice.reason, 0.0))
            return
    challenger = world.train(day)
    decision = meet(world.pipeline, challenger, run.champion, world.rows)
    if decision.promote:
        run.champion = challenger
    run.state = State(last_training_day=day, handled=run.state.handled | set(answer.evidence))
    run.retrainings.append(
        Retraining(
            day,
            *asked,
            probed,
            probe_cpu,
            decision.promote,
            decision.improvement,
            decision.reasons[0],
            challenger.cpu_seconds,
        )
    )


def _told(retraining: Retraining) -> str:
    outcome = {True: "a new champion", False: "the gate refused", None: "the probe advised against it"}
    return f"{retraining.kind} asked, {outcome[retraining.promoted]}; {retraining.detail[:120]}"
