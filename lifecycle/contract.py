"""What a source promises: the declaration of its columns, ranges, keys and freshness.

What belongs here: the declaration, and the pure parts of holding rows against it (typing text, finding
duplicates). Running the suite is Great Expectations' work, in ``resources/expectations.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import polars as pl

ColumnType = Literal["string", "int", "float", "bool", "timestamp"]


@dataclass(frozen=True)
class Column:
    """One column of a source table.

    Parameters
    ----------
    type : how its text is read; a timestamp is ISO 8601 with an offset and is kept in UTC.
    required : whether a row without a value breaks the contract.
    minimum, maximum : inclusive bounds of numbers; a row outside goes to quarantine.
    one_of : the allowed values, when they are a closed set.
    """

    name: str
    type: ColumnType
    description: str
    unit: str = ""
    required: bool = True
    minimum: float | None = None
    maximum: float | None = None
    one_of: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contract:
    """What one source table promises.

    Parameters
    ----------
    key : columns that identify a row; a second row with the same key is a duplicate if it says the same
        and a conflict, to be quarantined, if it does not.
    max_quarantined_share : above this share of a day's rows in quarantine the day is blocked.
    """

    columns: tuple[Column, ...]
    key: tuple[str, ...]
    max_quarantined_share: float = 0.05

    def __post_init__(self) -> None:
        unknown = set(self.key) - {column.name for column in self.columns}
        if unknown:
            raise ValueError(f"contract key names columns that are not declared: {sorted(unknown)}")

    def column(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"no column {name!r} in the contract; it has {[c.name for c in self.columns]}")

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]


def polars_type(column: Column) -> pl.DataType:
    """The type in which a column is stored: UTC microseconds for timestamps, 64 bits for numbers."""
    import polars as pl

    types: dict[str, pl.DataType] = {
        "string": pl.String(),
        "int": pl.Int64(),
        "float": pl.Float64(),
        "bool": pl.Boolean(),
        "timestamp": pl.Datetime("us", "UTC"),
    }
    return types[column.type]
