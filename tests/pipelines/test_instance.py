"""Dagster's instance follows the state folder."""

from __future__ import annotations

from pathlib import Path

from pipelines.instance import open_instance, prepare
from resources.settings import Settings


def test_a_state_folder_that_moved_writes_its_events_where_it_is_now(tmp_path: Path) -> None:
    old = prepare(Settings(home=tmp_path / "old"))
    with (old / "dagster.yaml").open("a") as file:
        file.write("# what a person added stays\n")
    (tmp_path / "old").rename(tmp_path / "new")

    instance = open_instance(Settings(home=tmp_path / "new"))
    assert instance.event_log_storage.get_logs_for_run("no such run") == []
    assert (tmp_path / "new" / "dagster" / "events" / "event_log.db").exists()
    with instance.compute_log_manager.capture_logs(["run", "compute_logs", "step"]):
        print("what runs print, too")
    assert list((tmp_path / "new" / "dagster" / "storage").rglob("step.out"))
    assert not (tmp_path / "old").exists()
    assert "what a person added stays" in (tmp_path / "new" / "dagster" / "dagster.yaml").read_text()
