"""Feast's registry while several processes use it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

from feast.feature_view import FeatureView
from feast.infra.offline_stores.file_source import FileSource
from feast.protos.feast.core.Registry_pb2 import Registry
from feast.repo_config import RegistryConfig

from feature_repo.registry_store import AtomicRegistryStore
from resources.feature_store import FeatureStore
from resources.lake import Lake
from tests.deliveries import DELIVERIES
from tests.tiny import TINY

VIEWS = 300


def test_who_reads_while_another_writes_finds_all_that_was_written(tmp_path: Path) -> None:
    def store() -> AtomicRegistryStore:
        return AtomicRegistryStore(RegistryConfig(path=str(tmp_path / "registry.db")), tmp_path)

    told = Registry()
    told.feature_views.extend(
        FeatureView(name=f"view_{number}", source=FileSource(name=f"of_{number}", path="x")).to_proto()
        for number in range(VIEWS)
    )
    store().update_registry_proto(told)
    done = Event()

    def read() -> set[int]:
        found: set[int] = set()
        while not done.is_set():
            found.add(len(store().get_registry_proto().feature_views))
        return found

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        for _ in range(100):
            store().update_registry_proto(told)
        done.set()
    assert {count for reader in readers for count in reader.result()} == {VIEWS}
    assert [path.name for path in tmp_path.iterdir()] == ["registry.db"]


def test_pipelines_that_are_told_at_once_take_nothing_from_each_other(tmp_path: Path) -> None:
    for turn in range(3):
        home = tmp_path / str(turn)
        stores = [FeatureStore(home, Lake(str(home / "lake"))) for _ in range(2)]
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda told: told[0]._objects_of(told[1]), zip(stores, (DELIVERIES, TINY), strict=True)))
        found = {view.name for view in FeatureStore(home, Lake(str(home / "lake")))._store.list_batch_feature_views()}
        expected = {view.name for store in stores for told in store._applied.values() for view in told.views}
        assert expected <= found
        assert len(expected) == len(DELIVERIES.views) + len(TINY.views)
