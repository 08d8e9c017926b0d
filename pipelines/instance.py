"""Dagster's own instance: where its runs, events and sensor cursors are kept, below the state folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

import dagster as dg

from resources.settings import Settings

# All events in one SQLite file (event_storage.py): the default keeps a file a run and every asset event twice.
# A thread shows on the terminal what runs print (compute_logs.py): the default starts four processes a run.
_CONFIGURATION = """\
telemetry:
  enabled: false
event_log_storage:
  module: pipelines.event_storage
  class: SqliteEventStorage
  config:
    base_dir: {home}/events
compute_logs:
  module: pipelines.compute_logs
  class: ThreadComputeLogManager
  config:
    base_dir: {home}/storage
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


# Where the events and what runs printed are, in a configuration written for a state folder which has moved since.
_PLACES = re.compile(r"(class: (?:SqliteEventStorage|ThreadComputeLogManager)\n  config:\n    base_dir: ).*/(\w+)")


def prepare(settings: Settings) -> Path:
    """Makes the instance's folder with its configuration and returns it.

    A configuration that is there stays as it is, but for the places of events and of what runs print: Dagster wants
    them absolute, and a state folder that was copied or restored would go on writing into the old one.
    """
    home = settings.root / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    configuration = home / "dagster.yaml"
    before = configuration.read_text() if configuration.exists() else _CONFIGURATION.format(home=home)
    text = _PLACES.sub(rf"\g<1>{home}/\g<2>", before)
    if not configuration.exists() or text != before:
        configuration.write_text(text)
    return home


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The instance of the state folder, for driving jobs in this process."""
    home = prepare(settings)
    os.environ["DAGSTER_HOME"] = str(home)
    return dg.DagsterInstance.from_config(str(home))


if __name__ == "__main__":
    print(prepare(Settings()))
