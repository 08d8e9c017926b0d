"""What a night's data monitoring costs, beside Evidently's full report, for a year at once, and day after day.

The data are made here: a reference of 100,000 rows with 45 numeric and 5 categorical features, days that each have a
level of their own, forecasts and labels. All statistics are computed, harm and the jumps of 30 groups included.

    python -m benchmarks.monitoring year      # the memory of a year of nights, in this process; prints JSON
"""

from __future__ import annotations

import gc
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measurement import Measurement, run_process, say
from lifecycle.features import Feature

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from lifecycle.drift.day_report import DayReport
    from lifecycle.drift.reference import Reference
    from lifecycle.drift.seasonal import SeasonalReference

REFERENCE_ROWS, REFERENCE_DAYS = 100_000, 28
DAY_ROWS, WINDOW_DAYS = 1_000, 14
YEAR_ROWS, YEAR_DAYS = 336_776, 365
RUNS = 5
NUMERIC, CATEGORICAL = 45, 5
FIRST = date(2013, 1, 1)
FEATURES = (
    *(Feature(f"number_{place}", "float", "", -20, 20) for place in range(NUMERIC)),
    *(Feature(f"word_{place}", "string", "") for place in range(CATEGORICAL)),
)
_SIZE = f"{NUMERIC} numeric and {CATEGORICAL} categorical features against a reference of {REFERENCE_ROWS:,} rows"


@dataclass(frozen=True)
class Past:
    """What monitoring compares with: the reference, the rows it was made of, and past days."""

    reference: Reference
    rows: pl.DataFrame
    seasonal: SeasonalReference
    before: pl.DataFrame


def measure(folder: Path) -> Iterator[Measurement]:
    """Times a day, a fortnight and a year against one reference, and Evidently on the fortnight."""
    past = make_past()
    day = make_rows(DAY_ROWS, 1, seed=1)
    fortnight = make_rows(DAY_ROWS * WINDOW_DAYS, WINDOW_DAYS, seed=2)
    of_day, of_fortnight = (_times(lambda rows=rows: monitor(past, rows)) for rows in (day, fortnight))  # type: ignore[misc]
    yield Measurement(
        "monitor_day_seconds",
        max(statistics.median(of_day), statistics.median(of_fortnight)),
        "s",
        "≤ 1",
        f"One night's data monitoring with all statistics and harm: the larger of a window of one day, {day.height:,} "
        f"rows ({_spread(of_day)}), and of {WINDOW_DAYS} days, {fortnight.height:,} rows ({_spread(of_fortnight)}), "
        f"{RUNS} runs each after one; {_SIZE}, which are also the judged rows (harm is estimated on 30,000 of them at "
        "most).",
    )
    yield _beside_evidently(past, fortnight, statistics.median(of_fortnight))
    yield _year(past)
    yield _growth(folder)


def _year(past: Past) -> Measurement:
    rows = make_rows(YEAR_ROWS, YEAR_DAYS, seed=3)
    seconds = _times(lambda: monitor(past, rows), runs=3)
    return Measurement(
        "monitor_year_seconds",
        statistics.median(seconds),
        "s",
        "≤ 5",
        f"Data monitoring with all statistics and harm of a window of {rows.height:,} rows on {YEAR_DAYS} days "
        f"({_spread(seconds)}), three runs after one; {_SIZE}.",
    )


def _beside_evidently(past: Past, window: pl.DataFrame, ours: float) -> Measurement:
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    names = [feature.name for feature in FEATURES]
    definition = DataDefinition(
        numerical_columns=[feature.name for feature in FEATURES if feature.type != "string"],
        categorical_columns=[feature.name for feature in FEATURES if feature.type == "string"],
    )
    frames = [rows.select(names).to_pandas() for rows in (window, past.rows)]

    def report() -> None:
        current, reference = (Dataset.from_pandas(frame, definition) for frame in frames)
        Report([DataDriftPreset()]).run(current, reference).dict()

    theirs = _times(report, runs=2)
    say(f"Evidently {_spread(theirs)}, ours {ours:.2f} s")
    return Measurement(
        "monitor_vs_evidently",
        statistics.median(theirs) / ours,
        "times",
        "≥ 10",
        f"Evidently's DataDriftPreset, one method per column ({_spread(theirs)}, frames already in pandas, no HTML), "
        f"over ours with all methods ({ours:.2f} s) on the same frames: {window.height:,} rows, {_SIZE}. Two runs of "
        "Evidently after one.",
    )


def _growth(folder: Path) -> Measurement:
    found = run_process(["-m", "benchmarks.monitoring", "year"], folder)[1]
    after, end = found["resident_mib"]["30"], found["resident_mib"][str(YEAR_DAYS)]
    return Measurement(
        "monitor_year_growth_mib",
        end - after,
        "MiB",
        "≤ 20",
        f"Resident memory of one process after {YEAR_DAYS} nights of monitoring, each with a window of its own "
        f"({end:.0f} MiB), above that after 30 ({after:.0f} MiB); windows of {WINDOW_DAYS} days of "
        f"{found['rows_of_day']} rows, {_SIZE}.",
    )


def monitor(judged: Past, window: pl.DataFrame) -> DayReport:
    """The report of a window, and its forms for machines."""
    from lifecycle.drift.monitoring import Champion, monitor_day
    from lifecycle.pipeline import MonitorRule

    importances = {feature.name: 0.01 for feature in FEATURES}
    champion = Champion(judged.reference, judged.rows, importances, 0.5, forecast)
    report = monitor_day(champion, window, MonitorRule(), "classification", FEATURES, judged.seasonal, judged.before)
    if report.prediction is None or len(report.features) != len(FEATURES) or report.table().height != len(FEATURES) + 2:
        raise RuntimeError("the report lacks columns: the time would say nothing")
    report.to_dict()
    return report


def make_past() -> Past:
    """A reference with its rows, and six weeks before the window."""
    from lifecycle.drift.reference import profile
    from lifecycle.drift.relations import learn
    from lifecycle.drift.seasonal import seasonal_reference

    rows = make_rows(REFERENCE_ROWS, REFERENCE_DAYS, seed=0)
    reference = profile(rows, FEATURES, rows["score"].to_numpy(), rows["label"].to_numpy(), {})
    relations = learn(rows, FEATURES)
    if relations is None:
        raise RuntimeError("the reference has no relations: the time would say nothing")
    before = make_rows(42 * DAY_ROWS, 42, seed=4)
    seasonal = seasonal_reference(reference, before, periods=6, slices=("word_0",))
    return Past(replace(reference, relations=relations), rows, seasonal, before)


def make_rows(count: int, days: int, seed: int) -> pl.DataFrame:
    """Rows spread over days; every day has a level of its own in every feature."""
    import numpy as np
    import polars as pl

    draw = np.random.default_rng(seed)
    place = np.arange(count) * days // count
    levels = draw.normal(0, 0.3, (days, NUMERIC))
    values = {f"number_{column}": draw.normal(size=count) + levels[place, column] for column in range(NUMERIC)}
    words = np.array([f"w{number}" for number in range(30)])
    score = forecast(pl.DataFrame(values))
    calendar = pl.Series([FIRST + timedelta(days=42 + number) for number in range(days)])
    return pl.DataFrame(
        {
            "day": calendar.gather(place),
            **values,
            **{f"word_{column}": words[draw.integers(0, 30, count)] for column in range(CATEGORICAL)},
            "score": score,
            "label": (draw.random(count) < score).astype(float),
        }
    )


def forecast(rows: pl.DataFrame) -> np.ndarray:
    """The model, which knows the truth."""
    import numpy as np

    return np.asarray(1 / (1 + np.exp(1 - rows["number_0"].to_numpy())))


def _nights() -> dict[str, object]:
    """Resident memory after some nights of monitoring in this process."""
    judged, per_day, resident = make_past(), 100, {}
    for night in range(1, YEAR_DAYS + 1):
        monitor(judged, make_rows(per_day * WINDOW_DAYS, WINDOW_DAYS, seed=1000 + night))
        if night in (30, YEAR_DAYS):
            gc.collect()
            resident[str(night)] = _resident_mib()
    return {"resident_mib": resident, "rows_of_day": per_day}


def _resident_mib() -> float:
    """Resident memory of this process; where the system does not tell, the highest so far."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def _times(call: Callable[[], object], runs: int = RUNS) -> list[float]:
    """Seconds of some calls, after one that is not counted."""
    call()
    found = []
    for _ in range(runs):
        started = time.perf_counter()
        call()
        found.append(time.perf_counter() - started)
    return found


def _spread(seconds: list[float]) -> str:
    return f"median {statistics.median(seconds):.2f} s, {min(seconds):.2f} to {max(seconds):.2f} s"


if __name__ == "__main__":
    if sys.argv[1:] != ["year"]:
        sys.exit("usage: python -m benchmarks.monitoring year")
    print(json.dumps(_nights()))
