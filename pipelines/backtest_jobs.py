"""The parts of a policy backtest, each of which needs nothing of the others, so that they can run side by side.

What belongs here: simulating one policy, and watching one stationary world with and without faults; and the processes
that do it. What is made of the results is in ``backtest.py``.
"""

from __future__ import annotations

import importlib
import math
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifecycle.backtesting.alarms import (
    COST_DAYS,
    CleanRun,
    Injection,
    inject_and_watch,
    stationary_rows,
    watch_nights,
)
from lifecycle.backtesting.backtest import Simulation, World, policies, simulate
from lifecycle.backtesting.faults import suite
from lifecycle.backtesting.watch import MONITORS
from lifecycle.calendar import days_between
from lifecycle.challenger import Challenger, meet
from lifecycle.performance.concept import errors_by_day, levels_told
from lifecycle.pipeline import Pipeline
from pipelines.backtest_rows import Trainer, lake_fingerprint, load_rows
from resources.lake import Lake
from resources.settings import quiet_environment

if TYPE_CHECKING:
    import polars as pl

# Of the shuffled worlds; the rules of errors were last changed after a look at those of seeds up to 146.
FIRST_SEED = 147
FREE, WITHIN_WEEKDAY = "free", "within weekday"
FAULTY = WITHIN_WEEKDAY  # where days keep their weekday: a column that tells it can else not be seen to break


@dataclass(frozen=True)
class Plan:
    """What is run.

    Parameters
    ----------
    first, last : nights; the first trains the first model.
    split : first day of the later part: what is chosen on the earlier one is judged on it.
    policies : names of those that are simulated.
    worlds : stationary worlds with freely shuffled days, and as many shuffled within weekdays.
    fault_worlds, fault_starts : worlds of the latter in which faults are injected, and on how many days of each.
    """

    first: date
    last: date
    split: date
    policies: tuple[str, ...]
    worlds: int = 8
    fault_worlds: int = 6
    fault_starts: int = 2


@dataclass(frozen=True)
class Bench:
    """What all parts need; it is opened anew in each process.

    Parameters
    ----------
    module : that declares the pipeline.
    lake : root of the lake that has the history.
    out : folder of the trainings.
    started : when the command was, in seconds since the epoch.
    """

    module: str
    lake: str
    out: Path
    started: float
    _kept: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_kept": {}}

    @property
    def pipeline(self) -> Pipeline:
        found: Pipeline = importlib.import_module(self.module).PIPELINE
        return found

    @property
    def rows(self) -> pl.DataFrame:
        if "rows" not in self._kept:
            self._kept["rows"] = load_rows(self.pipeline, Lake(self.lake), self.out / "feast")
        found: pl.DataFrame = self._kept["rows"]
        return found

    @property
    def name(self) -> str:
        """Of the data, which names what is kept on disk."""
        return lake_fingerprint(self.pipeline, Lake(self.lake), self.out / "feast")

    def world(self, rows: pl.DataFrame | None = None, name: str = "") -> World:
        """The rows as they were; or others, with a name of their own."""
        rows = self.rows if rows is None else rows
        trainer = Trainer(self.pipeline, rows, self.out / "models", self.name + name, self.say)
        return World(self.pipeline, rows, trainer)

    def say(self, text: str) -> None:
        print(f"{(time.time() - self.started) / 60:6.1f} min  {text}", flush=True)


@dataclass(frozen=True)
class Watched:
    """A stationary world.

    Parameters
    ----------
    nights : its clean nights, see ``alarms.CleanRun``.
    levels : of its days in order, see ``concept.levels_told``.
    injections : the faults that were injected.
    """

    way: str
    nights: pl.DataFrame
    levels: tuple[float, ...]
    injections: tuple[Injection, ...]


Job = Callable[[Bench], Any]


def run_jobs(bench: Bench, jobs: Sequence[Job], processes: int) -> Iterator[Any]:
    """The results of jobs, in their order, as they come.

    Parameters
    ----------
    jobs : called with the bench; with several processes they must be picklable.
    processes : with one, this process does it all.
    """
    if processes < 2 or len(jobs) < 2:
        yield from (job(bench) for job in jobs)
        return
    # New interpreters: threads of the libraries do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(jobs)), context, _open, (bench,)) as pool:
        yield from pool.map(_work, jobs)


_BENCH: list[Bench] = []


def _open(bench: Bench) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    quiet_environment()
    _BENCH[:] = [bench]


def _end_with_parent() -> None:
    """Ends this process when the one that started it is gone, in the middle of a piece: nobody waits for it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(job: Job) -> Any:
    return job(_BENCH[0])


def simulate_policy(bench: Bench, plan: Plan, name: str) -> Simulation:
    """The year under a policy."""
    started = time.perf_counter()
    policy = next(policy for policy in policies(bench.pipeline.retraining) if policy.name == name)
    found = simulate(bench.world(), policy, plan.first, plan.last, bench.say)
    bench.say(f"[{name}] done in {time.perf_counter() - started:.0f} s")
    return found


def watch_world(bench: Bench, plan: Plan, way: str, seed: int, with_faults: bool) -> Watched:
    """A champion monitored through a stationary world, in which nothing is to be found; then with each fault."""
    world = bench.world(stationary_rows(bench.rows, seed, way == WITHIN_WEEKDAY), f"-{way}-{seed}")
    champion = _first_champion(world, plan)
    keep = [start - timedelta(days=1) for start in fault_starts(bench.pipeline, champion.day, plan)]
    clean = watch_nights(world, champion, plan.last, keep)
    alarms = {name: clean.nights[name].count() for name in MONITORS}
    bench.say(f"[shuffled {way}, {seed}] {clean.nights.height} nights, nights with an error: {alarms}")
    issued = world.forecasts(champion, champion.day + timedelta(days=2), plan.last)
    errors = errors_by_day(issued, bench.pipeline.task).values()
    levels = tuple(level for level in levels_told(list(errors)).tolist() if math.isfinite(level))
    return Watched(way, clean.nights, levels, tuple(_faults(bench, plan, clean, seed)) if with_faults else ())


def _first_champion(world: World, plan: Plan) -> Challenger:
    """The first model that the gate lets serve; it is asked again every week.

    A model that is badly calibrated when it is judged never serves, so that errors about it would not be false ones.
    """
    for day in days_between(plan.first, plan.last)[::7]:
        challenger = world.train(day)
        if meet(world.pipeline, challenger, None, world.rows).promote:
            return challenger
    raise SystemExit(f"the gate lets no model of {plan.first} to {plan.last} serve: there is nothing to watch")


def fault_starts(pipeline: Pipeline, served: date, plan: Plan) -> list[date]:
    """First days of the faults, evenly spread over what is left once the monitors have enough forecasts.

    Parameters
    ----------
    served : day of the champion.
    """
    rule = pipeline.monitor
    earliest = served + timedelta(days=2 + max(rule.drift_days, rule.performance_days))
    # In a short period costs are measured over what is left.
    kept = min(COST_DAYS, max((plan.last - earliest).days // 2, 0))
    latest = plan.last - timedelta(days=kept + 3)
    days = days_between(earliest, latest)
    count = min(plan.fault_starts, len(days))
    return [days[(2 * place + 1) * len(days) // (2 * count)] for place in range(count)]


def _faults(bench: Bench, plan: Plan, clean: CleanRun, seed: int) -> Iterator[Injection]:
    champion, pipeline = clean.champion, bench.pipeline
    faults = suite(pipeline.inputs, champion.importances, champion.judged, pipeline.slices, pipeline.task)
    for start in fault_starts(pipeline, champion.day, plan):
        started = time.perf_counter()
        yield from (inject_and_watch(clean, fault, start) for fault in faults)
        seconds = time.perf_counter() - started
        bench.say(f"[faults, world {seed}] {len(faults)} injected on {start} in {seconds:.0f} s")
