"""A year built again: as one run, and as a run a day.

python -m benchmarks.backfill HOME FIRST LAST    # one run, in this process; what the measurement starts
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

from benchmarks.measurement import Measurement, landed_year, new_home, run_process, say

SINGLE_DAYS = 5


def measure(folder: Path) -> Iterator[Measurement]:
    """Builds the year as one run in a fresh process; then some days of the same lake, each in a process of its own."""
    from pipelines.flight_delays import PIPELINE

    last = PIPELINE.last_day or PIPELINE.first_day
    days = (last - PIPELINE.first_day).days + 1
    home = new_home(landed_year(PIPELINE, folder), folder / "backfill")
    seconds, answer = _run(home, PIPELINE.first_day, last)
    say(f"{days} days as one run: {seconds:.1f} s, {answer['cpu_seconds']:.1f} s of CPU, {answer['peak_mib']:.0f} MiB")
    what = f"{days} days raw → validated → features as one run of the job `{PIPELINE.name}__history`"
    yield Measurement(
        "backfill_seconds",
        seconds,
        "s",
        "≤ 60",
        f"{what}, in a fresh process from its start to its end, imports included ({answer['cpu_seconds']:.0f} s of "
        "CPU); files landed before.",
    )
    yield Measurement(
        "backfill_peak_mib", answer["peak_mib"], "MiB", "≤ 4096", f"Peak resident memory of that process: {what}."
    )
    each = _single_days(home, PIPELINE.first_day, days)
    day = statistics.median(each)
    yield Measurement(
        "backfill_vs_runs",
        day * days / seconds,
        "times faster",
        "≥ 50",
        f"{days} × {day:.1f} s, the median time of a run for one day, over the {seconds:.1f} s of the one run for all. "
        "A run for one day is the same job in a process of its own, as Dagster's launcher starts it: start, imports, "
        "code location and run are counted, Dagster's queue and daemon are not. "
        f"{len(each)} days spread over the year, built again in the lake of the one run "
        f"({min(each):.1f} to {max(each):.1f} s).",
    )


def _single_days(home: Path, first: date, days: int) -> list[float]:
    found = []
    for number in range(SINGLE_DAYS):
        day = first + timedelta(days=(2 * number + 1) * days // (2 * SINGLE_DAYS))
        seconds, _ = _run(home, day, day)
        say(f"{day} as a run of its own: {seconds:.1f} s")
        found.append(seconds)
    return found


def _run(home: Path, first: date, last: date) -> tuple[float, dict[str, float]]:
    return run_process(["-m", "benchmarks.backfill", str(home), str(first), str(last)], home)


def peak_mib() -> float:
    """Peak resident memory of this process since it started its program, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        # On Linux getrusage counts the process that started this one, too.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 2**10
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def main(arguments: list[str]) -> int:
    """Builds a range of days as one run and prints what it cost."""
    import time

    from pipelines.driver import Driver
    from pipelines.flight_delays import PIPELINE
    from resources.settings import Settings

    home, first, last = Path(arguments[0]), *map(date.fromisoformat, arguments[1:])
    ran = Driver(PIPELINE, Settings(home=home)).build_history(first, last)
    print(json.dumps({"cpu_seconds": time.process_time(), "peak_mib": peak_mib(), "run_seconds": ran.seconds}))
    return 0 if ran.success else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
