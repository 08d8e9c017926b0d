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
import os
import shutil
import sys
import time
from collections.abc import Sequence
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from lifecycle.backtesting.alarms import FOUND_WITHIN_DAYS, detection, false_alarms
from lifecycle.backtesting.backtest import OWN, Simulation, policies
from lifecycle.backtesting.detectable import detectable_share
from lifecycle.backtesting.faults import SIZES
from lifecycle.backtesting.results import Span, compare, cumulative_gain, graded_weeks, months
from lifecycle.calendar import days_between
from lifecycle.challenger import DAY
from lifecycle.pipeline import Pipeline
from pipelines.backtest_jobs import (
    FAULTY,
    FIRST_SEED,
    FREE,
    WITHIN_WEEKDAY,
    Bench,
    Plan,
    Watched,
    run_jobs,
    simulate_policy,
    watch_world,
)
from pipelines.backtest_page import write_page
from pipelines.replay import YEAR
from resources.settings import Settings, quiet_environment

WHOLE, EARLY, LATE = "whole", "early", "late"


def run(bench: Bench, plan: Plan, processes: int = 1) -> dict[str, Any]:
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
    simulations = [partial(simulate_policy, plan=plan, name=name) for name in plan.policies]
    content |= _policies(bench, plan, list(run_jobs(bench, simulations, processes)))
    write_page(content, bench.out)
    if plan.worlds:
        heard = next(policy for policy in policies(pipeline.retraining) if policy.name == OWN).monitors
        watched = list(run_jobs(bench, _worlds(plan), processes))
        nights = {way: [one.nights for one in watched if one.way == way] for way in (FREE, WITHIN_WEEKDAY)}
        content["false_alarms"] = {way: false_alarms(worlds, heard) for way, worlds in nights.items()}
        injections = [injection for one in watched for injection in one.injections]
        if injections:
            content["detection"] = detection(injections, heard)
            content["detection"]["labels"] = _label_limits(pipeline, [one for one in watched if one.way == FAULTY])
    write_page(content, bench.out)
    return content


def _worlds(plan: Plan) -> list[partial[Watched]]:
    """The stationary worlds; those with faults, which take longest, first."""
    seeds = range(FIRST_SEED, FIRST_SEED + plan.worlds)
    return [
        partial(watch_world, plan=plan, way=way, seed=seed, with_faults=way == FAULTY and place < plan.fault_worlds)
        for way in (FAULTY, FREE)
        for place, seed in enumerate(seeds)
    ]


def _label_limits(pipeline: Pipeline, watched: Sequence[Watched]) -> list[dict[str, float | None]]:
    """For each shift of the odds, the share that any test of the labels could tell as soon as faults must be found."""
    import numpy as np

    if pipeline.task != "classification":
        return []
    levels = [np.array(one.levels) for one in watched]
    return [{"size": size, "most": detectable_share(levels, size, FOUND_WITHIN_DAYS)} for size in SIZES["label_shift"]]


def _policies(bench: Bench, plan: Plan, simulations: Sequence[Simulation]) -> dict[str, Any]:
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
        "estimates": _estimates(bench, simulations),
    }


def _estimates(bench: Bench, simulations: Sequence[Simulation]) -> list[dict[str, Any]]:
    """Estimates graded for the policy that never retrains, whose weeks are one model's, and for the pipeline's own."""
    graded, world = [], bench.world()
    for simulation in simulations:
        if simulation.policy.name in ("never", OWN):
            for days_ahead in (7, 1):
                grade, table = graded_weeks(world, simulation, days_ahead)
                graded.append({"policy": simulation.policy.name, "days_ahead": days_ahead, **grade, "table": table})
                bench.say(f"[{simulation.policy.name}] {days_ahead} days ahead: {grade['verdict']}")
    return graded


def main(arguments: list[str] | None = None) -> int:
    quiet_environment()
    chosen = _parse(arguments)
    pipeline: Pipeline = importlib.import_module(chosen.pipeline).PIPELINE
    settings = Settings()
    out: Path = (chosen.out or settings.root / "backtest").absolute()
    out.mkdir(parents=True, exist_ok=True)
    lake = chosen.home.absolute() / "lake" if chosen.home else _history(pipeline, out)
    if chosen.fresh:
        shutil.rmtree(out / "models", ignore_errors=True)
    bench = Bench(chosen.pipeline, str(lake), out, time.time())
    bench.say(f"{bench.rows.height:,} rows with {len(pipeline.features)} features")
    known = tuple(policy.name for policy in policies(pipeline.retraining))
    asked = set(chosen.policies.split(",")) if chosen.policies else set(known)
    names = tuple(name for name in known if name in asked)
    if asked - set(known) or "never" not in names:
        raise SystemExit(f"--policies is {chosen.policies}; name some of {', '.join(known)}, never among them")
    split = chosen.split or _middle(chosen.first, chosen.last)
    plan = Plan(chosen.first, chosen.last, split, names, chosen.worlds, chosen.fault_worlds, chosen.fault_starts)
    run(bench, plan, chosen.processes)
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
    parser.add_argument("--worlds", type=int, default=8, help="shuffled worlds of each kind; 0: no alarms, no faults")
    parser.add_argument("--fault-worlds", type=int, default=6, help="of these, worlds in which faults are injected")
    parser.add_argument("--fault-starts", type=int, default=2, help="days on which each fault is injected")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="default: one for each core")
    parser.add_argument("--fresh", action="store_true", help="train everything again")
    return parser.parse_args(arguments)


def _middle(first: date, last: date) -> date:
    """The first month that begins after the middle; where none does, the day after the middle."""
    middle = first + (last - first) / 2
    month = (middle.replace(day=1) + timedelta(days=32)).replace(day=1)
    return month if month < last else middle + timedelta(days=1)


def _history(pipeline: Pipeline, out: Path) -> Path:
    """The lake that has the history, built as the product builds it where it is not there yet."""
    from pipelines.driver import Driver

    settings = Settings(home=out / "home")
    if not settings.lake.exists():
        last = pipeline.last_day or date.today() - timedelta(days=1)  # noqa: DTZ011 - a business day
        driver = Driver(pipeline, settings)
        for day in days_between(pipeline.first_day, last):
            driver.land(day)
        print(f"building the history from {pipeline.first_day} to {last}", flush=True)
        if not driver.build_history(pipeline.first_day, last).success:
            raise SystemExit(f"the history could not be built; look at the run in {settings.root}")
    return settings.lake


if __name__ == "__main__":
    sys.exit(main())
