"""Settings, read from environment variables ``PERENNIAL_*``; every one has a default that needs no server."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

QUIET_ENVIRONMENT = {
    # None of the libraries may phone home; MLflow accepts only the literal "true".
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # OpenMP threads of several runs spin against each other: a fit of 2 s then takes 18 s. So there is one, but where
    # long work asks for more (``lifecycle.parallel.every_core``); those sleep while they wait.
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    # Events that come together, such as those of a backfill's partitions, are stored together.
    "DAGSTER_EVENT_BATCH_SIZE": "500",
    # MLflow runs git for a tag that Dagster's code version already gives.
    "GIT_PYTHON_REFRESH": "quiet",
}


class Settings(BaseSettings):
    """Where things are and which servers are used.

    Examples
    --------
    >>> Settings(home="/data/perennial").lake.as_posix()
    '/data/perennial/lake'
    """

    model_config = SettingsConfigDict(env_prefix="PERENNIAL_", frozen=True)

    home: Path = Field(Path("var"), description="Folder of all state: landing, lake, stores, logs.")
    lake_uri: str = Field("", description="Root of the Delta lake; default <home>/lake.")
    mlflow_uri: str = Field("", description="MLflow tracking URI; default SQLite in <home>/mlflow.")
    online_uri: str | None = Field(
        None,
        description="Where online rows are kept: sqlite:///absolute/path.db or redis://host:port/db; "
        "default SQLite in <home>/feast/online.db.",
    )
    alert_log: Path | None = Field(None, description="File that alerts are appended to; default <home>/alerts.jsonl.")
    alert_urls: SecretStr = Field(
        SecretStr(""),
        description="Comma-separated Apprise addresses that alerts also go to, such as json://host/hook, mailto://…, "
        "slack://…; never shown, as they may hold passwords and tokens.",
    )
    alert_repeat_hours: float = Field(24, gt=0, description="Hours a problem lasts before people are told of it again.")
    ui_url: str = Field("http://localhost:3000", description="Address of Dagster's UI, with which alerts' links begin.")
    pipelines: str = Field(
        "pipelines.flight_delays", description="Comma-separated modules that each declare one PIPELINE."
    )

    @cached_property
    def root(self) -> Path:
        return self.home.expanduser().absolute()

    @property
    def landing(self) -> Path:
        return self.root / "landing"

    @property
    def lake(self) -> Path:
        return self.root / "lake"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def tracking_uri(self) -> str:
        return self.mlflow_uri or f"sqlite:///{self.root / 'mlflow' / 'mlflow.db'}"

    @property
    def alerts_path(self) -> Path:
        return self.alert_log or self.root / "alerts.jsonl"

    @property
    def heartbeat(self) -> Path:
        return self.root / "heartbeat"


def quiet_environment() -> None:
    """Sets the variables that keep libraries quiet and single-threaded, unless the user has set them."""
    for name, value in QUIET_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
