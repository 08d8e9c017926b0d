"""What Feast is told: owners, tags and definitions, and services that stay when the declaration moves on."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from datetime import timedelta
from types import ModuleType

import pytest
from feast import FeatureService

from feature_repo.objects import feast_objects, kept_services
from lifecycle.definitions import definitions, service_name
from lifecycle.derived import ratio
from lifecycle.features import Aggregate, Derived, Feature, WindowView
from pipelines.flight_delays import PIPELINE as FLIGHTS
from resources.feature_store import FeatureStore
from resources.lake import Lake
from tests.tiny import TINY, VIEWS, variant

ORDERS, SEATS = VIEWS
assert isinstance(ORDERS, WindowView)
GROWN = variant(
    views=(replace(ORDERS, aggregates=(*ORDERS.aggregates, Aggregate("count", (timedelta(hours=3),)))), SEATS)
)


def _features(service: FeatureService) -> set[str]:
    return {feature.name for projection in service.feature_view_projections for feature in projection.features}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    home = tmp_path_factory.mktemp("store")
    return FeatureStore(home, Lake(str(home / "lake")))


def test_everything_has_an_owner_a_description_and_tags() -> None:
    views_owner = replace(ORDERS, owner="team:kitchen")
    entities, views, (service,) = feast_objects(variant(views=(views_owner, SEATS)), str)

    assert [(entity.name, entity.owner, entity.description) for entity in entities] == [
        ("cafe", "team:cafes", "which café")
    ]
    assert [view.owner for view in views] == ["team:kitchen", "team:cafes"]
    assert views[0].tags == {"pipeline": "cafe_orders", "table": "orders", "group": "features"}
    assert service.owner == "team:cafes"
    assert service.tags["pipeline"] == "cafe_orders"
    assert service.tags["computed"] == "hour,staff,discount"
    for described in (*entities, *views, service):
        assert described.description, described.name


def test_every_feature_carries_its_definition() -> None:
    _, views, _ = feast_objects(FLIGHTS, str)
    declared = definitions(FLIGHTS)
    fields = {field.name: field for view in views for field in view.features}

    assert fields["temperature"].tags["fingerprint"] == declared["temperature"].fingerprint
    assert fields["temperature"].tags["definition"].startswith("latest temp per origin")
    assert fields["last_aircraft"].tags == {"used_for": "lookup"}


def test_a_service_of_an_earlier_declaration_stays_when_a_later_one_is_applied(store: FeatureStore) -> None:
    before, feast = TINY.feature_service, store._feast(TINY)
    kept = _features(feast.get_feature_service(before))
    store._feast(GROWN)
    store._feast(TINY)

    names = {service.name for service in feast.list_feature_services()}
    assert names == {before, GROWN.feature_service}
    assert _features(feast.get_feature_service(before)) == kept
    assert _features(feast.get_feature_service(GROWN.feature_service)) == kept | {"cafe_orders_count_3h"}


def test_what_feast_apply_reads_has_the_services_of_earlier_declarations(store: FeatureStore) -> None:
    registered = store._feast(GROWN).list_feature_services()

    assert [service.name for service in kept_services(GROWN, registered)] == [TINY.feature_service]
    assert kept_services(FLIGHTS, registered) == []


def test_a_retired_feature_is_retrieved_but_not_in_the_service_of_new_models() -> None:
    retiring = replace(GROWN, retired=("seats",))
    _, _, (new, whole) = feast_objects(retiring, str)

    assert (new.name, whole.name) == (retiring.feature_service, service_name(retiring, retiring.features))
    assert _features(whole) - _features(new) == {"seats"}
    assert whole.tags["retired"] == "seats"


def test_a_service_has_what_the_computed_features_are_made_from() -> None:
    per_seat = Derived(Feature("per_seat", "float", "orders per seat"), ratio("cafe_orders_count_24h", "seats"))
    retiring = variant(derived=(*TINY.derived, per_seat), retired=("seats",))
    _, _, (new, _) = feast_objects(retiring, str)

    assert "seats" in _features(new)


def test_the_repository_of_feasts_command_line_keeps_services(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``feast apply`` takes out of the registry what the repository does not name."""
    store._feast(TINY)
    declaration = ModuleType("cafes")
    declaration.PIPELINE = GROWN  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cafes", declaration)
    for name, value in {"HOME": str(store.home), "ONLINE_URI": "", "PIPELINES": "cafes"}.items():
        monkeypatch.setenv(f"PERENNIAL_{name}", value)
    monkeypatch.delitem(sys.modules, "feature_repo.repo", raising=False)

    repository = vars(importlib.import_module("feature_repo.repo"))

    services = [service.name for service in repository["cafe_orders_services"]]
    assert services == [GROWN.feature_service, TINY.feature_service]
