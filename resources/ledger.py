"""The ledger: the append-only history of decisions; what served when, who or what decided, and why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Literal

from feature_repo.delta import commit_stamp
from resources.lake import Lake

if TYPE_CHECKING:
    import polars as pl

Event = Literal["probe", "gate", "promotion", "rollback"]


@dataclass(frozen=True)
class Ledger:
    """Decisions about a pipeline's models, one row each, in a Delta table that is only ever appended to."""

    lake: Lake

    def record(
        self,
        pipeline: str,
        day: date,
        event: Event,
        decided_by: str,
        reason: str,
        version: int | None = None,
        replaces: int | None = None,
        evidence: Mapping[str, Any] | None = None,
    ) -> None:
        """Appends one decision.

        Parameters
        ----------
        day : the business day as of whose close it was decided.
        decided_by : a person, a schedule, a sensor, or "gate".
        version, replaces : the model version that serves from now on (or was refused), and the one before.
        """
        import polars as pl

        row = {
            "day": day,
            "recorded_at": datetime.now(UTC),
            "event": event,
            "decided_by": decided_by,
            "version": version,
            "replaces": replaces,
            "reason": reason,
            "evidence": json.dumps(evidence or {}, default=str),
        }
        self.lake.append(_table(pipeline), pl.DataFrame([row], schema=_schema()))

    def entries(self, pipeline: str) -> pl.DataFrame:
        """All decisions of a pipeline in the order they were recorded."""
        table = _table(pipeline)
        path, version = self.lake.path(table), self.lake.version(table)
        # A night asks ten times what was decided, and hardly ever has anything been since.
        commit = None if version is None else commit_stamp(path, version)
        if commit is None or _read.get(path, (None, None))[0] != (version, commit):
            found = self.lake.read_if_exists(table, _schema()).select(list(_schema())).sort("recorded_at")
            if commit is None:  # nothing decided yet, or a lake elsewhere
                return found
            _read[path] = (version, commit), found
        return _read[path][1]

    def served_at(self, pipeline: str, day: date) -> int | None:
        """The version that served at the close of ``day``; None when nothing did."""
        import polars as pl

        changes = self.entries(pipeline).filter(
            pl.col("event").is_in(["promotion", "rollback"]) & (pl.col("day") <= day)
        )
        return changes["version"].to_list()[-1] if changes.height else None

    def served_before(self, pipeline: str, version: int) -> int | None:
        """The version that served before ``version`` came to; None when none did."""
        import polars as pl

        changes = self.entries(pipeline).filter(
            pl.col("event").is_in(["promotion", "rollback"]) & (pl.col("version") == version)
        )
        return changes["replaces"].to_list()[-1] if changes.height else None

    def last_day(self, pipeline: str) -> date | None:
        """The latest business day that a decision speaks of."""
        entries = self.entries(pipeline)
        return entries["day"].max() if entries.height else None  # type: ignore[return-value]

    def last_training_day(self, pipeline: str) -> date | None:
        """The last day as of which a model was judged by the gate, promoted or not."""
        import polars as pl

        judged = self.entries(pipeline).filter(pl.col("event") == "gate")
        return judged["day"].max() if judged.height else None  # type: ignore[return-value]

    def last_probe_day(self, pipeline: str) -> date | None:
        """The last day on which a probe advised against a training; None if a model was judged since."""
        import polars as pl

        saved = self.entries(pipeline).filter(
            (pl.col("event") == "probe") & (pl.col("evidence").str.json_path_match("$.worth") == "false")
        )
        day, judged = saved["day"].max() if saved.height else None, self.last_training_day(pipeline)
        return day if day is not None and (judged is None or day > judged) else None  # type: ignore[return-value,operator]


_read: dict[str, tuple[tuple[int | None, tuple[int, int]], pl.DataFrame]] = {}  # by path, with the commit it was


def _table(pipeline: str) -> str:
    return f"{pipeline}/ledger"


def _schema() -> dict[str, pl.DataType]:
    import polars as pl

    return {
        "day": pl.Date(),
        "recorded_at": pl.Datetime("us", "UTC"),
        "event": pl.String(),
        "decided_by": pl.String(),
        "version": pl.Int64(),
        "replaces": pl.Int64(),
        "reason": pl.String(),
        "evidence": pl.String(),
    }
