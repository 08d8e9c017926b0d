"""How long a year takes when every night and every retraining of it is run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measurement import Measurement

if TYPE_CHECKING:
    from pipelines.driver import Ran


def measure(folder: Path) -> Iterator[Measurement]:
    """Replays the year with retraining when checks fail, from an empty state folder."""
    from pipelines.flight_delays import PIPELINE
    from pipelines.replay import YEAR, replay
    from resources.settings import Settings, quiet_environment

    quiet_environment()
    started = time.perf_counter()
    runs = replay(PIPELINE, Settings(home=folder / "replay"), "checks", YEAR)
    seconds = time.perf_counter() - started
    nights = [ran for ran in runs if ran.job.endswith("__nightly")]
    retrainings = [ran for ran in runs if ran.job.endswith("__retrain")]
    yield Measurement(
        "replay_seconds",
        seconds,
        "s",
        "≤ 900",
        f"The year from {YEAR.first} to {YEAR.last} in one process, landing included: the history before it in one "
        f"run, {len(nights)} nights in {_minutes(nights)} min and {len(retrainings)} retrainings in "
        f"{_minutes(retrainings)} min.",
    )


def _minutes(runs: list[Ran]) -> str:
    return f"{sum(ran.seconds for ran in runs) / 60:.1f}"
