"""The policy backtest: the year under every retraining policy, false alarms, and how soon faults are found.

    python -m pipelines.backtest                                  # the year, in <home>/backtest
    python -m pipelines.backtest --home var --last 2013-05-31     # some months over a lake that has the history
    python -m pipelines.backtest --policies never,weekly,own --worlds 0

Models are trained as the assets train them, once for all policies; what was trained is kept, so that a run that was
stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifecycle.alarms import (
    COST_DAYS,
    CleanRun,
    Injection,
    detection,
    false_alarms,
    inject_and_watch,
    stationary_rows,
    watch_nights,
)
from lifecycle.backtest import OWN, Simulation, World, policies, simulate
from lifecycle.backtest_results import Span, compare, cumulative_gain, graded_weeks, months
from lifecycle.calendar import days_between
from lifecycle.challenger import DAY, Challenger, meet
from lifecycle.faults import suite
from lifecycle.pipeline import Pipeline
from lifecycle.watch import MONITORS
from pipelines.backtest_page import write_page
from pipelines.backtest_rows import Trainer, lake_fingerprint, load_rows
from pipelines.replay import YEAR
from resources.lake import Lake
from resources.settings import Settings, quiet_environment

if TYPE_CHECKING:
    import polars as pl

Say = Callable[[str], None]
WHOLE, EARLY, LATE = "whole", "early", "late"
# Of the shuffled worlds; the rules of errors were last changed after a look at worlds 1 to 3.
FIRST_SEED = 11


@dataclass(frozen=True)
class Plan:
    """What is run.

    Parameters
    ----------
    first, last : nights; the first trains the first model.
    split : first day of the later part: what is chosen on the earlier one is judged on it.
    policies : names of those that are simulated.
    worlds : stationary worlds with freely shuffled days, and as many shuffled within weekdays.
    fault_worlds, fault_starts : worlds in which faults are injected, and on how many days of each.
    """

    first: date
    last: date
    split: date
    policies: tuple[str, ...]
    worlds: int = 3
    fault_worlds: int = 2
    fault_starts: int = 2


@dataclass
class Bench:
    """What all parts of a backtest need.

    Parameters
    ----------
    name : of the data, which names what is kept on disk.
    """

    pipeline: Pipeline
    rows: pl.DataFrame
    name: str
    out: Path
    say: Say

    def world(self, rows: pl.DataFrame, name: str) -> World:
        trainer = Trainer(self.pipeline, rows, self.out / "models", name, self.say)
        return World(self.pipeline, rows, trainer)


def run(bench: Bench, plan: Plan) -> dict[str, Any]:
    """Runs all parts and writes the page after each; returns what the page is made of."""
    pipeline = bench.pipeline
    content: dict[str, Any] = {
        "pipeline": pipeline.name,
        "first_night": str(plan.first),
        "last_night": str(plan.last),
        "split": str(plan.split),
        "task": pipeline.task,
        "value_unit": pipeline.costs.unit if pipeline.costs else None,
        "settings": {"retraining": vars(pipeline.retraining), "gate": vars(pipeline.gate)},
    }
    content |= _policies(bench, plan)
    write_page(content, bench.out)
    if plan.worlds:
        clean = _worlds(bench, plan)
        heard = next(policy for policy in policies(pipeline.retraining) if policy.name == OWN).monitors
        content["false_alarms"] = {way: false_alarms(runs, heard) for way, runs in clean.items()}
        write_page(content, bench.out)
        injections = _faults(bench, plan, clean["free"])
        if injections:
            content["detection"] = detection(injections, heard)
    write_page(content, bench.out)
    return content


def _policies(bench: Bench, plan: Plan) -> dict[str, Any]:
    world = bench.world(bench.rows, bench.name)
    simulations = []
    for policy in policies(bench.pipeline.retraining):
        if policy.name in plan.policies:
            started = time.perf_counter()
            simulations.append(simulate(world, policy, plan.first, plan.last, bench.say))
            bench.say(f"[{policy.name}] done in {time.perf_counter() - started:.0f} s")
    issued = simulations[0].forecasts[DAY]
    first, last = issued.min(), plan.last
    assert isinstance(first, date)
    spans = [Span(WHOLE, first, last), Span(EARLY, first, plan.split - timedelta(days=1)), Span(LATE, plan.split, last)]
    spans = [span for span in spans if span.first <= span.last] + months(first, last)
    days, lines = cumulative_gain(bench.pipeline, simulations)
    return {
        "spans": [{"name": span.name, "first": str(span.first), "last": str(span.last)} for span in spans],
        "policies": compare(bench.pipeline, simulations, spans),
        "cumulative_gain": {"days": [str(day) for day in days], "lines": lines},
        "estimates": _estimates(bench, world, simulations),
    }


def _estimates(bench: Bench, world: World, simulations: Sequence[Simulation]) -> list[dict[str, Any]]:
    """Estimates graded for the policy that never retrains, whose weeks are one model's, and for the pipeline's own."""
    graded = []
    for simulation in simulations:
        if simulation.policy.name in ("never", OWN):
            for days_ahead in (7, 1):
                grade, table = graded_weeks(world, simulation, days_ahead)
                graded.append({"policy": simulation.policy.name, "days_ahead": days_ahead, **grade, "table": table})
                bench.say(f"[{simulation.policy.name}] {days_ahead} days ahead: {grade['verdict']}")
    return graded


def _worlds(bench: Bench, plan: Plan) -> dict[str, list[CleanRun]]:
    """A champion monitored through every stationary world, with nothing to be found."""
    found: dict[str, list[CleanRun]] = {"free": [], "within weekday": []}
    for way, runs in found.items():
        for seed in range(FIRST_SEED, FIRST_SEED + plan.worlds):
            rows = stationary_rows(bench.rows, seed, way != "free")
            world = bench.world(rows, f"{bench.name}-{way}-{seed}")
            champion = _first_champion(world, plan)
            keep = [start - timedelta(days=1) for start in fault_starts(bench.pipeline, champion.day, plan)]
            runs.append(watch_nights(world, champion, plan.last, keep))
            alarms = {name: runs[-1].nights[name].count() for name in MONITORS}
            bench.say(f"[shuffled {way}, {seed}] {runs[-1].nights.height} nights, nights with an error: {alarms}")
    return found


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
    latest = plan.last - timedelta(days=COST_DAYS + 3)
    days = days_between(earliest, latest)
    count = min(plan.fault_starts, len(days))
    return [days[(2 * place + 1) * len(days) // (2 * count)] for place in range(count)]


def _faults(bench: Bench, plan: Plan, clean: Sequence[CleanRun]) -> list[Injection]:
    found: list[Injection] = []
    pipeline = bench.pipeline
    for number, run_ in enumerate(clean[: plan.fault_worlds], 1):
        champion = run_.champion
        faults = suite(pipeline.inputs, champion.importances, champion.judged, pipeline.slices, pipeline.task)
        for start in fault_starts(pipeline, champion.day, plan):
            started = time.perf_counter()
            found += [inject_and_watch(run_, fault, start) for fault in faults]
            seconds = time.perf_counter() - started
            bench.say(f"[faults, world {number}] {len(faults)} injected on {start} in {seconds:.0f} s")
    return found


def main(arguments: list[str] | None = None) -> int:
    quiet_environment()
    chosen = _parse(arguments)
    pipeline: Pipeline = importlib.import_module(chosen.pipeline).PIPELINE
    settings = Settings()
    out: Path = (chosen.out or settings.root / "backtest").absolute()
    out.mkdir(parents=True, exist_ok=True)
    say = _clock()
    lake = _history(pipeline, chosen.home, out, say)
    if chosen.fresh:
        shutil.rmtree(out / "models", ignore_errors=True)
    rows = load_rows(pipeline, lake, out / "feast")
    say(f"{rows.height:,} rows with {len(pipeline.features)} features")
    bench = Bench(pipeline, rows, lake_fingerprint(pipeline, lake, out / "feast"), out, say)
    known = tuple(policy.name for policy in policies(pipeline.retraining))
    names = tuple(chosen.policies.split(",")) if chosen.policies else known
    if set(names) - set(known) or "never" not in names:
        raise SystemExit(f"--policies is {chosen.policies}; name some of {', '.join(known)}, never among them")
    split = chosen.split or _middle(chosen.first, chosen.last)
    plan = Plan(chosen.first, chosen.last, split, names, chosen.worlds, chosen.fault_worlds, chosen.fault_starts)
    run(bench, plan)
    print(f"\n{(out / 'backtest.md').read_text()}\n\npage: {out / 'backtest.html'}\n      {out / 'backtest.json'}")
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("pipeline", nargs="?", default="pipelines.flight_delays", help="module that declares PIPELINE")
    parser.add_argument("--home", type=Path, help="state folder whose lake has the history; else one is built in --out")
    parser.add_argument(
        "--out", type=Path, help="folder of page and trainings; default <home of the settings>/backtest"
    )
    parser.add_argument(
        "--first", type=date.fromisoformat, default=YEAR.first, help="night that trains the first model"
    )
    parser.add_argument("--last", type=date.fromisoformat, default=YEAR.last, help="last night")
    parser.add_argument(
        "--split", type=date.fromisoformat, help="first day of the later part; default: month after the middle"
    )
    parser.add_argument("--policies", help="comma-separated; default all")
    parser.add_argument("--worlds", type=int, default=3, help="shuffled worlds of each kind; 0: no alarms, no faults")
    parser.add_argument("--fault-worlds", type=int, default=2, help="of these, worlds in which faults are injected")
    parser.add_argument("--fault-starts", type=int, default=2, help="days on which each fault is injected")
    parser.add_argument("--fresh", action="store_true", help="train everything again")
    return parser.parse_args(arguments)


def _middle(first: date, last: date) -> date:
    """The first month that begins after the middle; where none does, the day after the middle."""
    middle = first + (last - first) / 2
    month = (middle.replace(day=1) + timedelta(days=32)).replace(day=1)
    return month if month < last else middle + timedelta(days=1)


def _history(pipeline: Pipeline, home: Path | None, out: Path, say: Say) -> Lake:
    """The lake that has the history; without one, it is built as the product builds it."""
    if home is not None:
        return Lake(str(home.absolute() / "lake"))
    from pipelines.driver import Driver

    settings = Settings(home=out / "home")
    if not settings.lake.exists():
        last = pipeline.last_day or date.today() - timedelta(days=1)  # noqa: DTZ011 - a business day
        driver = Driver(pipeline, settings)
        for day in days_between(pipeline.first_day, last):
            driver.land(day)
        say(f"building the history from {pipeline.first_day} to {last}")
        if not driver.build_history(pipeline.first_day, last).success:
            raise SystemExit(f"the history could not be built; look at the run in {settings.root}")
    return Lake(str(settings.lake))


def _clock() -> Say:
    started = time.perf_counter()
    return lambda text: print(f"{(time.perf_counter() - started) / 60:6.1f} min  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
