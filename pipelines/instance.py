"""Dagster's own instance: where its runs, events and sensor cursors are kept, below the state folder."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg

from resources.settings import Settings

# All events in one SQLite file (event_storage.py): the default keeps a file a run and every asset event twice.
_CONFIGURATION = """\
telemetry:
  enabled: false
event_log_storage:
  module: pipelines.event_storage
  class: SqliteEventStorage
  config:
    base_dir: {home}/events
concurrency:
  runs:
    max_concurrent_runs: 4
  pools:
    default_limit: 1
# A run that waits is looked for every second, not every five.
run_queue:
  dequeue_interval_seconds: 1
# A run whose machine went down would otherwise count as under way for ever, and no night would follow it.
run_monitoring:
  enabled: true
  start_timeout_seconds: 300
  max_runtime_seconds: 14400
nux:
  enabled: false
"""


def prepare(settings: Settings) -> Path:
    """Makes the instance's folder with its configuration, unless it is there, and returns it."""
    home = settings.root / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    configuration = home / "dagster.yaml"
    if not configuration.exists():
        configuration.write_text(_CONFIGURATION.format(home=home))
    return home


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The instance of the state folder, for driving jobs in this process."""
    home = prepare(settings)
    os.environ["DAGSTER_HOME"] = str(home)
    return dg.DagsterInstance.from_config(str(home))


if __name__ == "__main__":
    print(prepare(Settings()))
