"""Measurements as they are kept: one JSON file, one entry per name, whoever measured it.

What belongs here: writing and merging. What does not: measuring. Needs only the standard library, so that anything
may record what it took.
"""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results.json"


def record(name: str, value: float, unit: str, target: str, how: str, path: Path = RESULTS) -> dict[str, Any]:
    """Writes one measurement into the results, in place of an earlier one of the same name.

    Results of other names stay. Those measured on another machine say so in a field ``machine`` of their own.

    Parameters
    ----------
    target : what the value is held against, e.g. ``"≤ 5"`` or ``"≥ 50"``, in ``unit``.
    how : what exactly was measured, in a sentence or two.
    path : the results file; made when missing.

    Returns
    -------
    dict
        The entry as it was written.

    Raises
    ------
    ValueError
        If the target cannot be read, or the file holds something else than results.
    """
    entry = {"name": name, "value": round(float(value), 3), "unit": unit, "target": target, "how": how}
    met(float(value), target)
    here, today = machine(), datetime.now(UTC).date().isoformat()
    before = _read(path)
    kept = [dict(result) for result in before["results"] if result["name"] != name]
    for result in kept:
        if before["machine"] != here:
            result.setdefault("machine", before["machine"])
    results = sorted([*kept, entry], key=lambda result: result["name"])
    _write(path, {"machine": here, "date": today, "results": results})
    return entry


def met(value: float, target: str) -> bool:
    """Whether a value meets a target.

    Examples
    --------
    >>> met(1.2, "≤ 1.5"), met(12, "≥ 50")
    (True, False)
    """
    sign, _, limit = target.partition(" ")
    if sign not in ("≤", "≥"):
        raise ValueError(f"target {target!r} must begin with '≤ ' or '≥ ', followed by a number")
    try:
        bound = float(limit)
    except ValueError as error:
        raise ValueError(f"target {target!r}: {limit!r} is not a number") from error
    return value <= bound if sign == "≤" else value >= bound


def machine() -> dict[str, Any]:
    """What a measurement depends on and that tells nothing else about the machine."""
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.system(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
    }


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {"machine": machine(), "results": []}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON ({error}); mend it or move it away") from error
    if not isinstance(content, dict) or not {"machine", "results"} <= content.keys():
        raise ValueError(f"{path} holds no results ('machine', 'results'); mend it or move it away")
    return content


def _write(path: Path, content: dict[str, Any]) -> None:
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)
