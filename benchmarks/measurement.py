"""What every subject shares: the measurement it yields, state folders of its own, and processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.results import met, record
from lifecycle.calendar import days_between
from lifecycle.pipeline import Pipeline

REPOSITORY = Path(__file__).parent.parent


@dataclass(frozen=True)
class Measurement:
    """One value and how it came about; ``target`` as ``benchmarks.results.record`` takes it."""

    name: str
    value: float
    unit: str
    target: str
    how: str


def keep(found: Measurement, note: str = "") -> None:
    """Records a measurement, and says whether it meets its target.

    Parameters
    ----------
    note : what is added to how it was measured.
    """
    record(found.name, found.value, found.unit, found.target, f"{found.how} {note}".strip())
    verdict = "met" if met(found.value, found.target) else "MISSED"
    print(f"  {found.name} = {found.value:.2f} {found.unit}, target {found.target}: {verdict}", flush=True)


def say(text: str) -> None:
    """Prints a line of progress."""
    print(f"    {text}", flush=True)


def landed_year(pipeline: Pipeline, folder: Path) -> Path:
    """A landing folder with all days of a pipeline's feed, made once below ``folder``."""
    if pipeline.feed is None or pipeline.last_day is None:
        raise ValueError(f"pipeline {pipeline.name!r} has no feed with a last day to measure with")
    landing = folder / "landing"
    if not landing.exists():
        started = time.perf_counter()
        for day in days_between(pipeline.first_day, pipeline.last_day):
            pipeline.feed(landing, day)
        say(
            f"landed {pipeline.first_day} to {pipeline.last_day} in {time.perf_counter() - started:.0f} s (not counted)"
        )
    return landing


def new_home(landing: Path, home: Path) -> Path:
    """An empty state folder that sees the landed files."""
    home.mkdir(parents=True)
    (home / "landing").symlink_to(landing, target_is_directory=True)
    return home


def run_process(arguments: list[str], home: Path) -> tuple[float, Any]:
    """Runs Python in a process of its own.

    Returns
    -------
    (seconds, answer)
        Wall time from the start of the process to its end, and the last line it printed, read as JSON.

    Raises
    ------
    RuntimeError
        If the process fails.
    """
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PERENNIAL_HOME": str(home)}
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *arguments], cwd=REPOSITORY, env=environment, capture_output=True, text=True
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return seconds, json.loads(done.stdout.splitlines()[-1])
