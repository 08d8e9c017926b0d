"""Runs the measurements and records them in ``benchmarks/results.json``.

    python -m benchmarks.run                    # all subjects, about twenty minutes
    python -m benchmarks.run nightly imports    # some of them

State is kept in a temporary folder and removed afterwards. What belongs here: which subjects there are.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import backfill, imports, monitoring, nightly, online, replay, retrieval
from benchmarks.measurement import Measurement, keep
from benchmarks.results import RESULTS

SUBJECTS: dict[str, Callable[[Path], Iterator[Measurement]]] = {
    "imports": imports.measure,
    "backfill": backfill.measure,
    "nightly": nightly.measure,
    "monitoring": monitoring.measure,
    "online": online.measure,
    "replay": replay.measure,
    "retrieval": retrieval.measure,
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"of {', '.join(SUBJECTS)}; all when none")
    chosen = parser.parse_args(arguments).subjects or list(SUBJECTS)
    if unknown := [name for name in chosen if name not in SUBJECTS]:
        parser.error(f"unknown subjects {unknown}; choose of {', '.join(SUBJECTS)}")
    with tempfile.TemporaryDirectory(prefix="perennial-bench-") as folder:
        for name in chosen:
            _run(name, Path(folder))
    print(f"recorded in {RESULTS}")
    return 0


def _run(name: str, folder: Path) -> None:
    started, load = time.perf_counter(), os.getloadavg()[0]
    print(f"{name} (load of the machine before: {load:.1f})", flush=True)
    for found in SUBJECTS[name](folder):
        keep(found, f"Load average of the machine before: {load:.1f}.")
    print(f"  took {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
