"""How long the code location takes to import, against Dagster alone: every run and sensor process pays it."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measurement import Measurement, run_process, say

PAIRS = 9
_IMPORT = "import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"


def measure(folder: Path) -> Iterator[Measurement]:
    """Imports the code location and Dagster in turn, in fresh processes."""
    home = folder / "imports"
    for module in ("dagster", "pipelines.definitions"):  # compiles what is not, fills the file cache
        _seconds(module, home)
    pairs = [(_seconds("dagster", home), _seconds("pipelines.definitions", home)) for _ in range(PAIRS)]
    ratios = sorted(ours / dagster for dagster, ours in pairs)
    dagster, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    say(f"import dagster {dagster:.2f} s, import pipelines.definitions {ours:.2f} s, ratios {_listed(ratios)}")
    yield Measurement(
        "import_ratio",
        statistics.median(ratios),
        "ratio",
        "≤ 1.5",
        f"Time of `import pipelines.definitions` over `import dagster`, each in a fresh process, taken in turn after a "
        f"warm-up: median of {PAIRS} ratios ({ratios[0]:.2f} to {ratios[-1]:.2f}); medians {ours:.2f} s and "
        f"{dagster:.2f} s.",
    )


def _seconds(module: str, home: Path) -> float:
    return float(run_process(["-c", _IMPORT.format(module=module)], home)[1])


def _listed(values: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)
