"""The bytes of an online row: how keys and values are written and read.

Keys are Feast's own entity keys; values are one protobuf map from the feature's name to Feast's value, so a row
written before a feature was declared is read without it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from feast.protos.feast.types.Value_pb2 import Map, Value, ValueType

if TYPE_CHECKING:
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey

_WORD, _PAIR, _LONG = struct.Struct("<I"), struct.Struct("<II"), struct.Struct("<q")
NUMBERS = frozenset({"double_val", "int64_val", "float_val", "int32_val"})
TEXT = "string_val"


class KeyEncoder:
    """Makes the keys of one view, byte for byte those of Feast's ``serialize_entity_key`` in version 3.

    Parameters
    ----------
    names : the join keys.

    Examples
    --------
    >>> KeyEncoder(["cafe"]).encode(["station"]) == KeyEncoder(["cafe"]).encode(["market"])
    False
    >>> KeyEncoder(["cafe"]).encode([None]) is None
    True
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._order = sorted(range(len(names)), key=lambda place: names[place])
        parts = [_WORD.pack(len(names))]
        for name in sorted(names):
            text = name.encode()
            parts += [_PAIR.pack(ValueType.STRING, len(text)), text]
        self._prefix = b"".join(parts)

    def encode(self, values: Sequence[object]) -> bytes | None:
        """The key of some text or whole numbers, in the order of the names; None when one of them is missing.

        Raises
        ------
        ValueError
            If a value is neither text nor a whole number.
        """
        parts = [self._prefix]
        for place in self._order:
            value = values[place]
            if value is None:
                return None
            if isinstance(value, str):
                text = value.encode()
                parts += [_PAIR.pack(ValueType.STRING, len(text)), text]
            elif isinstance(value, int) and not isinstance(value, bool):
                parts += [_PAIR.pack(ValueType.INT64, _LONG.size), _LONG.pack(value)]
            else:
                raise ValueError(f"a join key must be text or a whole number, not {value!r}")
        return b"".join(parts)


def encode_entity(entity: EntityKey, version: int = 3) -> bytes | None:
    """The key of one of Feast's entity keys; None when one of its values is missing."""
    from feast.infra.key_encoding_utils import serialize_entity_key

    if any(value.WhichOneof("val") is None for value in entity.entity_values):
        return None
    return serialize_entity_key(entity, entity_key_serialization_version=version)


def encode_values(values: Mapping[str, Value]) -> bytes:
    """All values of a row as one message; a value without content is a missing one."""
    row = Map()
    for name, value in values.items():
        row.val[name].CopyFrom(value)
    return row.SerializeToString()


def decode_values(encoded: bytes) -> dict[str, Value]:
    """The values of a row by feature."""
    return dict(Map.FromString(encoded).val)
