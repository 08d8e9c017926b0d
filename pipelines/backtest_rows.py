"""The rows that a backtest goes over: every event at every moment, with features as they were known then.

What belongs here: reading them from a lake that has the history, once, and the trainings that are kept on disk. What
is done with them is in ``lifecycle/backtesting/backtest.py``.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from assets.examples import read_labels, read_spine
from lifecycle.challenger import DAY, KEY, KNOWN, LABEL, MOMENT, Challenger, train_challenger
from lifecycle.performance.hindcasts import HINDCAST
from lifecycle.pipeline import Pipeline
from resources.feature_store import FeatureStore
from resources.lake import Lake
from resources.tables import validated_table

if TYPE_CHECKING:
    import polars as pl


def load_rows(pipeline: Pipeline, lake: Lake, feast_home: Path) -> pl.DataFrame:
    """All events that were announced, at every moment, with features, labels and when these were known.

    Parameters
    ----------
    lake : is only read.
    feast_home : folder for the feature store's own state.

    Returns
    -------
    polars.DataFrame
        ``event_key``, ``day`` (of the event), ``moment``, ``label``, ``known_day`` (the day at whose close the label
        was known), slices and features; in order of event time, key and moment.

    Raises
    ------
    FileNotFoundError
        If the lake has no history.
    """
    import polars as pl

    from lifecycle.business_day import business_day

    last = max(lake.days(validated_table(pipeline, pipeline.label.table)), default=None)
    if last is None:
        raise FileNotFoundError(f"the lake {lake.root} holds no outcomes of {pipeline.name!r}; build its history first")
    spine = read_spine(pipeline, lake, pipeline.first_day + timedelta(days=1), last + timedelta(days=1))
    labels = read_labels(pipeline, lake, pipeline.first_day, last)
    key = list(pipeline.spine.key)
    rows = FeatureStore(feast_home, lake).retrieve(pipeline, spine)
    rows = rows.join(labels, on=key, how="left", maintain_order="left")
    rows = rows.with_columns(
        pl.concat_str(key, separator="|").alias(KEY),
        pl.col("event_day").alias(DAY),
        business_day("label_known_at", pipeline.calendar).alias(KNOWN),
    )
    names = [feature.name for feature in pipeline.features]
    return rows.select(list(dict.fromkeys([KEY, DAY, MOMENT, LABEL, KNOWN, *pipeline.slices, *names])))


def lake_fingerprint(pipeline: Pipeline, lake: Lake, feast_home: Path) -> str:
    """A name for the data that a backtest is made from: root and versions of all tables that it reads."""
    tables = FeatureStore(feast_home, lake).tables(pipeline)
    tables += [validated_table(pipeline, name) for name in (pipeline.spine.table, pipeline.label.table)]
    return _digest(lake.root, sorted(lake.versions(tables).items()))


@dataclass
class Trainer:
    """Trains the model of a day once for all policies; what was trained is kept on disk, so that a killed run goes on.

    Parameters
    ----------
    rows : see ``load_rows``.
    folder : for the trainings; files of one data fingerprint, declaration and day. It holds pickles that this program
        wrote: point it at no folder that others can write to.
    name : of the rows, such as the data's fingerprint and the seed they were shuffled with.
    """

    pipeline: Pipeline
    rows: pl.DataFrame
    folder: Path
    name: str
    say: Callable[[str], None]
    made: dict[date, Challenger] = field(default_factory=dict)

    def __call__(self, day: date) -> Challenger:
        if day not in self.made:
            self.made[day] = self._kept(day) or self._train(day)
        return self.made[day]

    def _path(self, day: date) -> Path:
        pipeline = self.pipeline
        plan = _digest(pipeline.training, pipeline.gate.window_days, pipeline.costs, pipeline.inputs, self.name)
        return self.folder / f"{day}-{plan}.pickle"

    def _kept(self, day: date) -> Challenger | None:
        path = self._path(day)
        if not path.exists():
            return None
        try:
            found: Challenger = pickle.loads(path.read_bytes())
        except (AttributeError, ImportError):
            return None  # of another release, whose modules were named otherwise
        return found if HINDCAST in found.judged.columns else None  # likewise, when there were no hindcasts

    def _train(self, day: date) -> Challenger:
        made = train_challenger(self.pipeline, self.rows, day)
        path = self._path(day)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")  # another process may train the same model
        partial.write_bytes(pickle.dumps(made))
        partial.replace(path)
        self.say(f"trained the model of {day} in {made.cpu_seconds:.0f} CPU s ({made.recipe.family})")
        return made


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
