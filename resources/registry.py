"""The registry: MLflow runs, model versions and the aliases that say what serves. The one place that talks to it.

A version carries everything that must change together: the model, its feature service and inputs, its decision
threshold and its reference. So one alias moves all of them at once, forwards and back.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifecycle.drift.reference import Reference

if TYPE_CHECKING:
    import polars as pl
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion as MlflowVersion

CHAMPION, CHALLENGER = "champion", "challenger"
MODEL, REFERENCE, DEFINITIONS, JUDGED = "model", "reference.json", "features.json", "judged.parquet"
MOST_VERSIONS = 100  # that a listing tells of: the newest


@dataclass(frozen=True)
class Version:
    """A registered version with what belongs to it.

    Parameters
    ----------
    day : business day as of whose close it was trained.
    trained_through : last business day whose events it has learnt from.
    feature_service : the service in Feast's registry that it is pinned to.
    features : inputs of the model, in the order it takes them.
    fingerprints : what each of them was when it was trained (``lifecycle.definitions``); empty where nothing was kept.
    threshold : score from which a row is acted on; None in regression.
    """

    name: str
    number: int
    run_id: str
    day: date
    trained_through: date
    feature_service: str
    features: tuple[str, ...]
    threshold: float | None
    tags: Mapping[str, str]
    fingerprints: Mapping[str, str] = field(default_factory=dict)

    @property
    def importances(self) -> dict[str, float]:
        """Growth of its loss when a feature is shuffled, by feature."""
        return dict(json.loads(self.tags.get("importances", "{}")))


@dataclass(frozen=True)
class TrainingRecord:
    """What a training run leaves in MLflow besides the model.

    Parameters
    ----------
    judged : (rows,) the model's forecasts on the days it was judged on: ``day``, ``score``, ``label`` and its inputs.
    """

    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    documents: Mapping[str, Any]
    plots: Mapping[str, bytes]
    judged: pl.DataFrame
    trials: list[Mapping[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Registry:
    """MLflow at a tracking URI; artifacts of the default configuration lie in a folder.

    Parameters
    ----------
    artifacts : folder for artifacts and, by default, the SQLite database.
    """

    tracking_uri: str
    artifacts: str
    _models: dict[tuple[str, int], Any] = field(default_factory=dict, compare=False)
    _judged: dict[str, pl.DataFrame | None] = field(default_factory=dict, compare=False)
    _references: dict[str, Reference] = field(default_factory=dict, compare=False)

    def log_training(self, name: str, estimator: Any, record: TrainingRecord, reference: Reference) -> str:
        """Logs one training run, with its model and its reference, and returns the run's id."""
        import mlflow
        import sklearn

        from lifecycle.models import TRUSTED_TYPES

        with self._run(name, record.tags.get("day", "")) as run:
            mlflow.log_params(dict(record.params))
            mlflow.log_metrics({key: value for key, value in record.metrics.items() if value == value})
            mlflow.set_tags(dict(record.tags))
            for document, content in record.documents.items():
                mlflow.log_text(json.dumps(content, indent=1, default=str), document)
            mlflow.log_text(reference.to_json(), REFERENCE)
            with tempfile.TemporaryDirectory() as folder:
                for plot, png in record.plots.items():
                    (Path(folder) / plot).write_bytes(png)
                mlflow.log_artifacts(folder, "plots")
            with tempfile.TemporaryDirectory() as folder:
                record.judged.write_parquet(Path(folder) / JUDGED)
                mlflow.log_artifact(str(Path(folder) / JUDGED))
            mlflow.log_text(json.dumps(list(record.trials), indent=1, default=str), "trials.json")
            mlflow.sklearn.log_model(
                estimator,
                name=MODEL,
                # Inferring these costs 7.7 s a model.
                pip_requirements=[f"scikit-learn=={sklearn.__version__}"],
                skops_trusted_types=list(TRUSTED_TYPES),
            )
            return str(run.info.run_id)

    def register(self, name: str, run_id: str, tags: Mapping[str, str]) -> Version:
        """Makes a version of a run's model and names it challenger; the same run gives the same version again."""
        from mlflow.exceptions import MlflowException

        client = self._client
        existing = client.search_model_versions(f"name='{name}' and run_id='{run_id}'")
        if existing:
            return _version(existing[0])
        try:
            client.get_registered_model(name)
        except MlflowException:
            client.create_registered_model(name, description=f"Models of the pipeline {name}.")
        outputs: Any = client.get_run(run_id).outputs
        model = outputs.model_outputs[0].model_id
        made = client.create_model_version(name, f"models:/{model}", run_id=run_id, tags=dict(tags), model_id=model)
        client.set_registered_model_alias(name, CHALLENGER, made.version)
        return _version(client.get_model_version(name, made.version))

    def promote(self, version: Version) -> None:
        """Lets a version serve: its model, features, threshold and reference from one moment to the next."""
        self._client.set_registered_model_alias(version.name, CHAMPION, str(version.number))

    def champion(self, name: str) -> Version | None:
        """The version that serves, None before the first promotion."""
        return self._by_alias(name, CHAMPION)

    def challenger(self, name: str) -> Version | None:
        return self._by_alias(name, CHALLENGER)

    def withdraw(self, version: Version) -> None:
        """Lets a version be challenger no longer, if it is; it stays registered."""
        challenger = self.challenger(version.name)
        if challenger is not None and challenger.number == version.number:
            self._client.delete_registered_model_alias(version.name, CHALLENGER)

    def live(self, name: str) -> dict[str, Version]:
        """The versions that serve or want to, by alias: the champion first; empty before the first one."""
        if self._is_new:
            return {}
        # Asking for the model instead would read all its versions.
        found = {alias: self._by_alias(name, alias) for alias in (CHAMPION, CHALLENGER)}
        return {alias: version for alias, version in found.items() if version is not None}

    def versions(self, name: str) -> list[Version]:
        """The registered versions, the newest first."""
        if self._is_new:
            return []
        found = self._client.search_model_versions(
            f"name='{name}'", max_results=MOST_VERSIONS, order_by=["version_number DESC"]
        )
        return [_version(version) for version in found]

    def version(self, name: str, number: int) -> Version:
        return _version(self._client.get_model_version(name, str(number)))

    def of_run(self, name: str, run_id: str) -> Version | None:
        """The version made of a run's model."""
        found = self._client.search_model_versions(f"name='{name}' and run_id='{run_id}'")
        return _version(found[0]) if found else None

    def latest_run(self, name: str, day: date) -> str | None:
        """The newest training run as of a day."""
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            return None
        runs = self._client.search_runs(
            [experiment.experiment_id],
            f"tags.day = '{day}' and attributes.status = 'FINISHED'",
            order_by=["attributes.start_time DESC"],
            max_results=1,
        )
        return str(runs[0].info.run_id) if runs else None

    def run_tags(self, run_id: str) -> dict[str, str]:
        return dict(self._client.get_run(run_id).data.tags)

    def run_params(self, run_id: str) -> dict[str, str]:
        """What a training run logged of how its model was made, as text."""
        return dict(self._client.get_run(run_id).data.params)

    def estimator(self, version: Version) -> Any:
        """The fitted model of a version; loaded once a process."""
        import mlflow

        cached = (version.name, version.number)
        if cached not in self._models:
            _ = self._client
            self._models[cached] = mlflow.sklearn.load_model(f"models:/{version.name}/{version.number}")
        return self._models[cached]

    def reference(self, version: Version) -> Reference:
        """The profile of data and predictions that came with a version; read once a process, as a run keeps it."""
        if version.run_id not in self._references:
            self._references.clear()  # one champion at a time is asked about
            self._references[version.run_id] = Reference.from_json(self._text(version.run_id, REFERENCE))
        return self._references[version.run_id]

    def judged(self, version: Version) -> pl.DataFrame | None:
        """A version's forecasts on the days it was judged on, see ``TrainingRecord``; read once a process.

        None for versions that were trained before this was kept.
        """
        import polars as pl
        from mlflow.exceptions import MlflowException

        if version.run_id not in self._judged:
            self._judged.clear()  # one champion at a time is asked about
            try:
                found = pl.read_parquet(self._download(version.run_id, JUDGED))
            except (MlflowException, OSError):
                found = None
            self._judged[version.run_id] = found
        return self._judged[version.run_id]

    def document(self, run_id: str, name: str) -> Any:
        """A JSON document that a training run left."""
        return json.loads(self._text(run_id, name))

    def definitions(self, version: Version) -> Mapping[str, Any]:
        """What ``lifecycle.definitions.record`` told of a version's features; empty where nothing was kept."""
        return dict(self.document(version.run_id, DEFINITIONS)) if version.fingerprints else {}

    def plot(self, run_id: str, name: str) -> bytes:
        return Path(self._download(run_id, f"plots/{name}")).read_bytes()

    def _text(self, run_id: str, name: str) -> str:
        return Path(self._download(run_id, name)).read_text()

    def _download(self, run_id: str, path: str) -> str:
        return str(self._client.download_artifacts(run_id, path))

    def _by_alias(self, name: str, alias: str) -> Version | None:
        from mlflow.exceptions import MlflowException

        try:
            return _version(self._client.get_model_version_by_alias(name, alias))
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def _run(self, name: str, title: str) -> Any:
        import mlflow

        client = self._client
        if client.get_experiment_by_name(name) is None:
            client.create_experiment(name, artifact_location=(Path(self.artifacts) / "artifacts" / name).as_uri())
        mlflow.set_experiment(name)
        return mlflow.start_run(run_name=title)

    @property
    def _is_new(self) -> bool:
        """Whether nothing was ever registered: to find that out, no database need be made."""
        return self._file is not None and not self._file.exists()

    @property
    def _file(self) -> Path | None:
        scheme = "sqlite:///"
        return Path(self.tracking_uri.removeprefix(scheme)) if self.tracking_uri.startswith(scheme) else None

    @cached_property
    def _client(self) -> MlflowClient:
        import mlflow

        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
        mlflow.set_tracking_uri(self.tracking_uri)
        return mlflow.MlflowClient(self.tracking_uri)


def version_tags(
    day: date,
    trained_through: date,
    feature_service: str,
    features: list[str],
    threshold: float | None,
    fingerprints: Mapping[str, str],
) -> dict[str, str]:
    """The tags in which a version carries what moves with it."""
    return {
        "day": str(day),
        "trained_through": str(trained_through),
        "feature_service": feature_service,
        "features": json.dumps(features),
        "feature_fingerprints": json.dumps(dict(fingerprints), separators=(",", ":")),
        "threshold": "" if threshold is None else repr(threshold),
    }


def _version(found: MlflowVersion) -> Version:
    tags = dict(found.tags)
    return Version(
        name=found.name,
        number=int(found.version),
        run_id=str(found.run_id),
        day=date.fromisoformat(tags["day"]),
        trained_through=date.fromisoformat(tags["trained_through"]),
        feature_service=tags["feature_service"],
        features=tuple(json.loads(tags["features"])),
        threshold=float(tags["threshold"]) if tags["threshold"] else None,
        tags=tags,
        fingerprints=json.loads(tags.get("feature_fingerprints", "{}")),
    )
