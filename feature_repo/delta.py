"""Opening Delta tables. Reading a table's log takes some ten milliseconds, a night opens a hundred tables.

So tables on this machine are kept open, per thread, and brought up to date where there is a newer commit.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deltalake import DeltaTable

MOST_KEPT = 128
# A table that is only ever brought up to date remembers every commit since it was opened, and each write goes over
# them: after a year of nights a write takes four times as long. Opened anew it starts from the last checkpoint.
MOST_COMMITS = 20


@dataclass(frozen=True)
class _Kept:
    """An open table and the commit it stood at, by which a table that was made anew at its path is told apart.

    Parameters
    ----------
    opened : its version when it was opened.
    """

    table: DeltaTable
    opened: int
    commit: str
    stamp: tuple[int, int]


class _Open(threading.local):
    def __init__(self) -> None:
        self.tables: OrderedDict[str, _Kept] = OrderedDict()


_open = _Open()


def open_table(path: str, version: int | None = None, options: Mapping[str, str] | None = None) -> DeltaTable:
    """A Delta table as it is now, or at a version.

    Raises
    ------
    deltalake.exceptions.TableNotFoundError
        If there is no table.
    """
    from deltalake import DeltaTable

    if version is not None or "://" in path:
        return DeltaTable(path, version=version, storage_options=dict(options) if options else None)
    kept = _open.tables.pop(path, None)
    if kept is not None and _stamp(kept.commit) == kept.stamp and kept.table.version() - kept.opened < MOST_COMMITS:
        table, opened = kept.table, kept.opened
        # Commits are numbered without gaps: while the next one is not there, nothing is new.
        if os.path.exists(_commit(path, table.version() + 1)):
            table.update_incremental()
    else:
        table = DeltaTable(path)
        opened = table.version()
    _keep(path, table, opened)
    return table


def _keep(path: str, table: DeltaTable, opened: int) -> None:
    commit = _commit(path, table.version())
    stamp = _stamp(commit)
    if stamp is None:
        return
    _open.tables[path] = _Kept(table, opened, commit, stamp)
    if len(_open.tables) > MOST_KEPT:
        _open.tables.popitem(last=False)


def commit_stamp(path: str, version: int) -> tuple[int, int] | None:
    """What tells a commit from another of the same number, where a folder was filled anew; None if absent."""
    return _stamp(_commit(path, version))


def _commit(path: str, version: int) -> str:
    return os.path.join(path, "_delta_log", f"{version:020}.json")


def _stamp(commit: str) -> tuple[int, int] | None:
    try:
        found = os.stat(commit)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
