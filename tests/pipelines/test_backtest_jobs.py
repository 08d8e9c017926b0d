"""The processes of a backtest: none outlives the command that started it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pipelines.backtest_jobs import Bench, run_jobs

LONGEST_SECONDS = 60


def busy(bench: Bench, place: int) -> None:
    """A piece that would take an hour, and says who works on it."""
    (bench.out / f"{place}.pid").write_text(str(os.getpid()))
    until = time.monotonic() + 3600
    while time.monotonic() < until:
        pass


def run(out: Path) -> None:
    list(run_jobs(Bench("tests.tiny", "", out, 0.0), [partial(busy, place=place) for place in range(2)], processes=2))


def test_the_pieces_end_with_a_command_that_is_killed(tmp_path: Path) -> None:
    code = f"from pathlib import Path; from {__name__} import run; run(Path({str(tmp_path)!r}))"
    with subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": "1"}) as command:
        assert _becomes_true(lambda: len(_pids(tmp_path)) == 2)
        command.kill()
    assert _becomes_true(lambda: not any(map(_lives, _pids(tmp_path))))


def _pids(folder: Path) -> list[int]:
    return [int(text) for path in folder.glob("*.pid") if (text := path.read_text())]


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def _becomes_true(asked: Callable[[], bool]) -> bool:
    until = time.monotonic() + LONGEST_SECONDS
    while not asked():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True
