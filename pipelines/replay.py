"""The replay: days of the past through the real jobs, checks and sensors, in order, as if they were happening.

    python -m pipelines.replay                        # the year under all policies
    python -m pipelines.replay --policies checks      # one of them
    python -m pipelines.replay --demo                 # some weeks, in the state folder that `make dev` opens

Each policy has a state folder of its own, so that its runs can be looked at in Dagster's UI afterwards.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import shutil
import sys
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import dagster as dg

from lifecycle.calendar import days_between
from lifecycle.pipeline import Pipeline
from pipelines.driver import FIRST_MODEL_SENSOR, POLICY_SENSORS, Driver, Ran
from pipelines.retraining import monthly_cause, request_for, state_of
from resources.settings import Settings, quiet_environment

POLICIES = ("never", "monthly", "checks")
JOURNAL = "replay.json"


@dataclasses.dataclass(frozen=True)
class Span:
    """What is replayed.

    Parameters
    ----------
    history_until : the days up to here are built in one run, without forecasts.
    first : the first night; its missing champion asks for the first model.
    last : the last night.
    """

    history_until: date
    first: date
    last: date


YEAR = Span(date(2013, 3, 30), date(2013, 3, 31), date(2013, 12, 30))
# From the first model to the first that replaces it: what winter taught does not hold in the storms of April.
DEMO = Span(date(2013, 3, 30), date(2013, 3, 31), date(2013, 4, 28))


def replay(pipeline: Pipeline, settings: Settings, policy: str, span: Span) -> list[Ran]:
    """Replays a span under a policy and returns all runs, oldest first.

    Parameters
    ----------
    policy : "never" trains the first model only; "monthly" also on the first day of every month, without a probe;
        "checks" when the pipeline's own policy asks for it.
    """
    if policy == "monthly":
        unconditional = dataclasses.replace(pipeline.retraining, probe_confidence=None)
        pipeline = dataclasses.replace(pipeline, retraining=unconditional)
    driver = Driver(pipeline, settings)
    journal: list[Ran] = []
    started = time.perf_counter()

    def write() -> None:
        (settings.root / JOURNAL).write_text(_journal(policy, span, journal, time.perf_counter() - started))

    write()  # a replay that is killed in its first run is known for one, and can be begun again
    for ran in _runs(driver, policy, span):
        journal.append(ran)
        _progress(span, policy, ran, started)
        write()
    return journal


def _runs(driver: Driver, policy: str, span: Span) -> Iterator[Ran]:
    first = driver.pipeline.first_day
    for day in days_between(first, span.history_until):
        driver.land(day)
    yield driver.build_history(first, span.history_until)
    for day in days_between(span.first, span.last):
        driver.land(day)
        yield from driver.nights()
        yield from _retrainings(driver, policy, day)


def _retrainings(driver: Driver, policy: str, day: date) -> Iterator[Ran]:
    """What the policy's sensors ask for after a night; the first model is asked for under every policy."""
    sensors = [FIRST_MODEL_SENSOR, *(POLICY_SENSORS if policy == "checks" else [])]
    # As the daemon does it: what one sensor asks for is under way when the next one is evaluated.
    for sensor in sensors:
        for request in driver.tick(sensor):
            yield driver.run(request)
    tomorrow = day + timedelta(days=1)
    if policy == "monthly" and tomorrow.day == 1 and driver.ledger.last_training_day(driver.pipeline.name) != day:
        cause = monthly_cause(driver.pipeline, day, f"{tomorrow:%Y-%m}")
        state = state_of(driver.pipeline, driver.instance, driver.ledger)
        answer = request_for(driver.pipeline, [cause], state, "retrain_monthly")
        if isinstance(answer, dg.RunRequest):
            yield driver.run(answer)


def _progress(span: Span, policy: str, ran: Ran, started: float) -> None:
    days = (span.last - span.first).days + 1
    done = max(0, (ran.day - span.first).days + 1)
    elapsed = time.perf_counter() - started
    left = elapsed / max(done, 1) * (days - done)
    line = f"[{policy}] {ran.day} {ran.job.split('__')[-1]:8} {ran.seconds:5.1f} s  day {done}/{days}"
    line += f"  {elapsed / 60:.1f} min, about {left / 60:.1f} min left" if done else ""
    cause = ran.tags.get("perennial/cause")
    if not ran.success:
        line += "  FAILED"
    print(line + (f"\n    because {cause}" if cause else ""), flush=True)


def _journal(policy: str, span: Span, journal: list[Ran], seconds: float) -> str:
    runs = [dataclasses.asdict(ran) for ran in journal]
    content = {"policy": policy, "span": dataclasses.asdict(span), "seconds": seconds, "runs": runs}
    return json.dumps(content, default=str, indent=1)


def main(arguments: list[str] | None = None) -> int:
    quiet_environment()
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--pipeline", default="pipelines.flight_delays", help="module that declares PIPELINE")
    parser.add_argument("--policies", default=",".join(POLICIES), help=f"comma-separated, of {', '.join(POLICIES)}")
    parser.add_argument("--demo", action="store_true", help="replay some weeks in the state folder itself")
    parser.add_argument("--last", type=date.fromisoformat, help="end the replay on an earlier day")
    chosen = parser.parse_args(arguments)
    policies = chosen.policies.split(",")
    if unknown := set(policies) - set(POLICIES):
        parser.error(f"unknown policies {sorted(unknown)}; choose of {', '.join(POLICIES)}")

    from pipelines.scoreboard import write_scoreboard

    pipeline = importlib.import_module(chosen.pipeline).PIPELINE
    settings = Settings()
    span = DEMO if chosen.demo else YEAR
    span = dataclasses.replace(span, last=min(span.last, chosen.last or span.last))
    homes = {}
    for policy in ["checks"] if chosen.demo else policies:
        home = settings.root if chosen.demo else settings.root / "replay" / policy
        _clear(home)
        homes[policy] = home
        replay(pipeline, Settings(home=home), policy, span)
    board = write_scoreboard(pipeline, homes, settings.root if chosen.demo else settings.root / "replay")
    print(f"\n{board.text}\n\nscoreboard: {board.html}\n            {board.json}")
    return 0


def _clear(home: Path) -> None:
    """A replay starts from nothing: what an earlier one left would be taken for its own past.

    Raises
    ------
    SystemExit
        If the folder holds state that no replay has made.
    """
    if (home / "lake").exists() and not (home / JOURNAL).exists():
        raise SystemExit(f"{home} holds the state of a pipeline; move it away, or set PERENNIAL_HOME to another folder")
    files = ("alerts.jsonl", "heartbeat", JOURNAL)
    for name in ("landing", "ingested", "lake", "feast", "mlflow", "dagster", "reports", *files):
        path = home / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
