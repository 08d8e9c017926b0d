"""Asking a version again about rows it was asked about before.

The drift report of every night asks the champion what it makes of labelled rows without this value or that, and most
of these questions are last night's. What belongs here: remembering the answers, as long as the process lives. What is
asked and why is in ``lifecycle/drift/rescoring.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lifecycle.pipeline import Pipeline
from resources.registry import Registry, Version

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

MOST_ROWS = 400_000  # fifty megabytes


@dataclass
class Remembered:
    """Scores by row, whichever question the row is part of; the older half goes when there are too many.

    Parameters
    ----------
    score : of a frame, (rows,) scores; each row's by itself. Frames have the same columns every time.
    """

    score: Callable[[pl.DataFrame], np.ndarray]
    _known: dict[int, float] = field(default_factory=dict)

    def __call__(self, rows: pl.DataFrame) -> np.ndarray:
        import numpy as np

        # Of ten million rows, any two share a hash of 64 bits with a chance of three in a million.
        hashes = rows.hash_rows().to_list()
        self._make_room(len(hashes))
        new = [place for place, key in enumerate(hashes) if key not in self._known]
        if new:
            scores = self.score(rows[new]).tolist()
            self._known.update(zip((hashes[place] for place in new), scores, strict=True))
        return np.fromiter((self._known[key] for key in hashes), dtype=float, count=len(hashes))

    def _make_room(self, rows: int) -> None:
        if len(self._known) + rows > MOST_ROWS:
            kept = list(self._known.items())[len(self._known) // 2 :]
            self._known = dict(kept)


_asked: dict[str, tuple[Pipeline, str, Remembered]] = {}


def score_again(pipeline: Pipeline, registry: Registry, version: Version) -> Remembered:
    """What a version makes of rows; one version of a pipeline at a time is remembered, the champion."""
    from lifecycle import scoring

    known = _asked.get(pipeline.name)
    if known is None or known[0] is not pipeline or known[1] != version.run_id:
        remembered = Remembered(
            lambda rows: scoring.score(registry.estimator(version), rows, version.features, pipeline)
        )
        known = _asked[pipeline.name] = pipeline, version.run_id, remembered
    return known[2]
