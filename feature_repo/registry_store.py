"""A file registry for Feast that is never seen half written.

What belongs here: Feast's interface, for any Feast repository that names this class in its ``feature_store.yaml``.
"""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from feast.infra.registry.file import FileRegistryStore

if TYPE_CHECKING:
    from feast.protos.feast.core.Registry_pb2 import Registry


class AtomicRegistryStore(FileRegistryStore):
    """Feast's registry in a local file, which is replaced as a whole.

    Feast's own empties the file before it writes: who reads between the two finds no view at all and gives up, as a
    backtest did while another program told the registry of its views.
    """

    def _write_registry(self, registry_proto: Registry) -> None:
        registry_proto.version_id = str(uuid.uuid4())
        registry_proto.last_updated.FromDatetime(datetime.now(UTC))
        self._filepath.parent.mkdir(exist_ok=True)
        written = self._filepath.with_name(f"{self._filepath.name}.{uuid.uuid4().hex}")
        try:
            with written.open("wb") as file:
                file.write(registry_proto.SerializeToString())
                file.flush()
                os.fsync(file.fileno())
            written.replace(self._filepath)
        finally:
            written.unlink(missing_ok=True)
