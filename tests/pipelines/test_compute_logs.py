"""What a run prints is in its files, where Dagster's UI looks, and on the terminal."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

from pipelines.compute_logs import ThreadComputeLogManager
from pipelines.instance import open_instance
from resources.settings import Settings


@dg.asset
def talkative() -> None:
    print("a word on the day", flush=True)
    print("a complaint", file=sys.stderr)
    os.write(sys.stdout.fileno(), b"from a library that does not ask Python\n")


def test_what_a_run_prints_is_kept_and_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    instance = open_instance(Settings(home=tmp_path))
    manager = instance.compute_log_manager
    assert isinstance(manager, ThreadComputeLogManager)
    result = dg.materialize([talkative], instance=instance)
    shown = capfd.readouterr()

    kind = dg.DagsterEventType.LOGS_CAPTURED
    (event,) = (log.get_dagster_event() for log in instance.all_logs(result.run_id, of_type=kind))
    key = manager.build_log_key_for_run(result.run_id, event.logs_captured_data.file_key)
    kept = manager.get_log_data(key)
    said = b"a word on the day\nfrom a library that does not ask Python\n"
    assert kept.stdout == said
    assert kept.stderr is not None
    assert b"a complaint\n" in kept.stderr
    assert manager.is_capture_complete(key)
    assert said.decode() in shown.out
    assert "a complaint\n" in shown.err
    # Dagster's own manager finds the same files.
    assert LocalComputeLogManager(str(tmp_path / "dagster" / "storage")).get_log_data(key).stdout == said


def test_a_run_that_fails_leaves_what_it_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    instance = open_instance(Settings(home=tmp_path))
    with suppress(ZeroDivisionError), instance.compute_log_manager.capture_logs(["run", "compute_logs", "step"]):
        print("before the end")
        print(1 / 0)
    print("after it")
    assert instance.compute_log_manager.get_log_data(["run", "compute_logs", "step"]).stdout == b"before the end\n"
    assert capfd.readouterr().out == "before the end\nafter it\n"
