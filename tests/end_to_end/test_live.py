"""The real thing: webserver and daemon as users start them; files land, and the night runs by itself."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests

from assets import stage
from pipelines.driver import NIGHTLY_SENSOR, Driver
from pipelines.flight_delays import PIPELINE
from pipelines.flight_delays.feed import land_range
from pipelines.instance import prepare
from pipelines.jobs import nightly_name
from resources.settings import QUIET_ENVIRONMENT, Settings

ROOT = Path(__file__).parents[2]
POLL_SECONDS = 0.5
START_SECONDS, NIGHT_SECONDS = 90, 120
FIRST, LAST = date(2012, 12, 31), date(2013, 1, 9)
DAY = LAST + timedelta(days=1)
Found = TypeVar("Found")


class Dagster:
    """A running webserver and daemon, asked through GraphQL as the pages in the browser do."""

    def __init__(self, port: int, log: Path) -> None:
        self._url, self._log = f"http://127.0.0.1:{port}/graphql", log

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        answer = requests.post(self._url, json={"query": query, "variables": variables}, timeout=30).json()
        assert "errors" not in answer, answer["errors"]
        return dict(answer["data"])

    def await_(self, what: str, probe: Callable[[], Found | None], seconds: float) -> Found:
        """Polls until the probe finds something."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with suppress(requests.ConnectionError):
                if (found := probe()) is not None:
                    return found
            time.sleep(POLL_SECONDS)
        raise AssertionError(f"no {what} within {seconds:.0f} s; the log ends with:\n{self._log.read_text()[-4000:]}")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A state folder with ten days of history, built in this process."""
    settings = Settings(home=tmp_path)
    driver = Driver(PIPELINE, settings)
    land_range(settings.landing, FIRST, LAST)
    assert driver.build_history(FIRST, LAST).success
    driver.instance.dispose()
    return settings


@pytest.fixture
def dagster(settings: Settings, tmp_path: Path) -> Iterator[Dagster]:
    """``dagster dev`` on the state folder, ended with all its children whatever happens."""
    environment = {
        **os.environ,
        **QUIET_ENVIRONMENT,
        "PERENNIAL_HOME": str(settings.root),
        "DAGSTER_HOME": str(prepare(settings)),
        "PYTHONPATH": str(ROOT),
    }
    port, log = _free_port(), tmp_path / "dagster.log"
    command = [sys.executable, "-m", "dagster", "dev", "-w", "workspace.yaml", "-p", str(port)]
    with log.open("w") as output:
        # A session of its own: the signal at the end reaches webserver, daemon, code server and runs alike.
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            yield Dagster(port, log)
        finally:
            _end(process)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_day_that_lands_is_run_and_checked_without_anyone_doing_anything(
    dagster: Dagster, settings: Settings
) -> None:
    sensor = dagster.await_("running nightly sensor", lambda: _sensor(dagster), START_SECONDS)
    assert sensor == "RUNNING"

    landed = time.monotonic()
    files = land_range(settings.landing, DAY, DAY)
    assert files
    run = dagster.await_(f"nightly run of {DAY}", lambda: _finished_night(dagster), NIGHT_SECONDS)
    print(f"from landing to finished run: {time.monotonic() - landed:.1f} s")

    assert run["status"] == "SUCCESS"
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    assert tags["dagster/partition"] == str(DAY)
    assert tags["dagster/sensor_name"] == f"{PIPELINE.name}__{NIGHTLY_SENSOR}"
    for asset, check, passed in (
        (stage.key(PIPELINE, "raw", "outcomes"), "landed", True),
        (stage.key(PIPELINE, "validated", "outcomes"), "contract", True),
        # No model has been trained: the night says so, and this asks for the first one.
        (stage.key(PIPELINE, "batch_predictions"), "has_champion", False),
    ):
        found = _evaluation(dagster, asset.path, check)
        assert found == {"partition": str(DAY), "success": passed}, f"{asset.to_user_string()}:{check}"


def _sensor(dagster: Dagster) -> str | None:
    """The status of the nightly sensor, None while the code location is still loading."""
    query = "{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError { __typename ... on "
    query += "RepositoryLocation { repositories { sensors { name sensorState { status } } } } "
    query += "... on PythonError { message } } } } } }"
    for entry in dagster.ask(query)["workspaceOrError"]["locationEntries"]:
        location = entry["locationOrLoadError"]
        if location:
            assert location["__typename"] == "RepositoryLocation", location
            sensors = {sensor["name"]: sensor for found in location["repositories"] for sensor in found["sensors"]}
            return str(sensors[f"{PIPELINE.name}__{NIGHTLY_SENSOR}"]["sensorState"]["status"])
    return None


def _finished_night(dagster: Dagster) -> dict[str, Any] | None:
    query = "query($filter: RunsFilter) { runsOrError(filter: $filter) { ... on Runs { results { "
    query += "status tags { key value } } } } }"
    runs = dagster.ask(query, filter={"pipelineName": nightly_name(PIPELINE)})["runsOrError"]["results"]
    finished = [run for run in runs if run["status"] in ("SUCCESS", "FAILURE", "CANCELED")]
    return finished[0] if finished else None


def _evaluation(dagster: Dagster, asset: list[str], check: str) -> dict[str, Any]:
    """The last evaluation of a check: of which partition, and whether it passed."""
    query = "query($asset: AssetKeyInput!, $check: String!) { assetCheckExecutions(assetKey: $asset, checkName: "
    query += "$check, limit: 1) { evaluation { partition success } } }"
    executions = dagster.ask(query, asset={"path": asset}, check=check)["assetCheckExecutions"]
    assert executions, f"{'/'.join(asset)}:{check} was never evaluated"
    return dict(executions[0]["evaluation"])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end(process: subprocess.Popen[bytes]) -> None:
    """Asks the process to go, then makes sure that nothing of its session is left."""
    with suppress(subprocess.TimeoutExpired):
        process.send_signal(signal.SIGINT)
        process.wait(timeout=15)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=15)
