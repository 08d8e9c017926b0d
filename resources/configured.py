"""Dagster resources: they carry the configuration and hand out plain clients."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import dagster as dg

from resources.alerts import alerts
from resources.feature_store import FeatureStore
from resources.lake import Lake
from resources.landing import Landing
from resources.ledger import Ledger
from resources.registry import Registry
from resources.settings import Settings


class LakeResource(dg.ConfigurableResource[Lake]):
    """The Delta lake at a folder or object-store URI."""

    root: str

    def create_resource(self, context: dg.InitResourceContext) -> Lake:  # noqa: ARG002
        return Lake(self.root)


class LandingResource(dg.ConfigurableResource[Landing]):
    """The folder in which an upstream puts files, and the notes of what was ingested."""

    root: str
    notes: str

    def create_resource(self, context: dg.InitResourceContext) -> Landing:  # noqa: ARG002
        return Landing(Path(self.root), Path(self.notes))


class RegistryResource(dg.ConfigurableResource[Registry]):
    """MLflow: runs, model versions and what serves."""

    tracking_uri: str
    artifacts: str

    def create_resource(self, context: dg.InitResourceContext) -> Registry:  # noqa: ARG002
        return _registry(self.tracking_uri, self.artifacts)


class LedgerResource(dg.ConfigurableResource[Ledger]):
    """The append-only history of decisions, in the lake."""

    lake: str

    def create_resource(self, context: dg.InitResourceContext) -> Ledger:  # noqa: ARG002
        return Ledger(Lake(self.lake))


class ReportsResource(dg.ConfigurableResource[Path]):
    """The folder for reports that people open in a browser."""

    path: str

    def create_resource(self, context: dg.InitResourceContext) -> Path:  # noqa: ARG002
        return Path(self.path)


def resources(settings: Settings) -> dict[str, dg.ConfigurableResource | dg.ResourceDefinition]:
    """All resources of the project as the settings say."""
    lake = settings.lake_uri or str(settings.lake)
    return {
        "lake": LakeResource(root=lake),
        "landing": LandingResource(root=str(settings.landing), notes=str(settings.root / "ingested")),
        # Not configurable ones: the UI shows the configuration, and their addresses may hold secrets.
        "feature_store": dg.ResourceDefinition.hardcoded_resource(
            plain_feature_store(settings), "Feast over the lake, and the online store."
        ),
        "registry": RegistryResource(tracking_uri=settings.tracking_uri, artifacts=str(settings.root / "mlflow")),
        "ledger": LedgerResource(lake=lake),
        "alerts": dg.ResourceDefinition.hardcoded_resource(alerts(settings), "Where alerts go."),
        "reports": ReportsResource(path=str(settings.reports)),
    }


def plain_clients(settings: Settings) -> tuple[Registry, Ledger]:
    """The registry and the ledger for programs that run outside Dagster."""
    lake = settings.lake_uri or str(settings.lake)
    return _registry(settings.tracking_uri, str(settings.root / "mlflow")), Ledger(Lake(lake))


def plain_feature_store(settings: Settings) -> FeatureStore:
    """The feature store for programs that run outside Dagster."""
    return _feature_store(str(settings.root), settings.lake_uri or str(settings.lake), settings.online_uri or "")


# Feast's registry and MLflow's engine take seconds to open: a process opens each once, not once a run.
@cache
def _feature_store(home: str, lake: str, online_uri: str) -> FeatureStore:
    return FeatureStore(Path(home), Lake(lake), online_uri)


@cache
def _registry(tracking_uri: str, artifacts: str) -> Registry:
    return Registry(tracking_uri, artifacts)
