"""Asking a version again about rows it was asked about before.

The drift report of every night asks the champion what it makes of its judged rows without this value or that, and most
of these questions are last night's. What belongs here: remembering the answers, as long as the process lives. What is
asked and why is in ``lifecycle/rescoring.py``.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lifecycle.pipeline import Pipeline
from resources.registry import Registry, Version

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

MOST_ANSWERS = 256  # of two thousand scores each: a few megabytes


@dataclass
class Remembered:
    """Scores by the rows they were asked of; of the answers not asked for the longest the first go.

    Parameters
    ----------
    score : of a frame, (rows,) scores; the same for the same rows. Frames have the same columns every time.
    """

    score: Callable[[pl.DataFrame], np.ndarray]
    _answers: OrderedDict[bytes, np.ndarray] = field(default_factory=OrderedDict)

    def __call__(self, rows: pl.DataFrame) -> np.ndarray:
        key = hashlib.blake2b(rows.hash_rows().to_numpy().tobytes(), digest_size=16).digest()
        found = self._answers.pop(key, None)
        if found is None:
            found = self.score(rows)
            found.setflags(write=False)  # whoever asks next must find it as it is
        self._answers[key] = found
        if len(self._answers) > MOST_ANSWERS:
            self._answers.popitem(last=False)
        return found


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
