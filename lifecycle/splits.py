"""Which rows are learnt from and which are judged.

What belongs here: time-ordered folds and samples that are the same in every process. Not fitting.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, eq=False)
class Fold:
    """One block of days to validate on, and all rows before it to learn from.

    Parameters
    ----------
    train, validation : (rows,) masks.
    first_day, last_day : the validation block, both included.
    """

    train: np.ndarray
    validation: np.ndarray
    first_day: date
    last_day: date

    def within(self, mask: np.ndarray) -> Fold:
        """The same fold over the rows that ``mask`` keeps."""
        return Fold(self.train[mask], self.validation[mask], self.first_day, self.last_day)


def time_folds(days: np.ndarray, folds: int, fold_days: int) -> list[Fold]:
    """Expanding, time-ordered folds over the last ``folds * fold_days`` calendar days.

    Parameters
    ----------
    days : (rows,) datetime64[D], the day of each row, in any order.

    Raises
    ------
    ValueError
        If no row comes before the first block, or a block holds none.

    Examples
    --------
    >>> import numpy as np
    >>> days = np.arange("2013-01-01", "2013-01-31", dtype="datetime64[D]")
    >>> [(fold.train.sum().item(), str(fold.first_day), str(fold.last_day)) for fold in time_folds(days, 2, 7)]
    [(16, '2013-01-17', '2013-01-23'), (23, '2013-01-24', '2013-01-30')]
    """
    import numpy as np

    if folds < 1 or fold_days < 1:
        raise ValueError(f"folds is {folds} and fold_days {fold_days}; both must be at least 1")
    days = np.asarray(days, dtype="datetime64[D]")
    if not days.size:
        raise ValueError("days holds no rows; pass the day of each training row")
    first, last = days.min().item(), days.max().item()
    span = (last - first).days + 1
    if span <= folds * fold_days:
        raise ValueError(
            f"days span {span} days, {first} to {last}; {folds} folds of {fold_days} days need more than "
            f"{folds * fold_days}: pass more days, or fewer or shorter folds"
        )
    starts = [last - timedelta(days=fold_days * back - 1) for back in range(folds, 0, -1)]
    return [_fold(days, start, start + timedelta(days=fold_days - 1)) for start in starts]


def sample_by_hash(keys: np.ndarray, max_rows: int, seed: int) -> np.ndarray:
    """Mask of at most ``max_rows`` rows, chosen by a hash of their key.

    Rows of one key are kept or left out together, so that an event's several moments never part. The choice
    depends on the keys and the seed alone: not on the order of the rows, the process or the machine. With the
    same seed, a smaller sample lies within a larger one.

    Parameters
    ----------
    keys : (rows,) key of each row, compared as text.

    Returns
    -------
    (rows,) bool array

    Raises
    ------
    ValueError
        If ``max_rows`` is below one, or a single key has more rows than that and nothing would be kept.
    """
    import numpy as np
    import pandas as pd

    keys = np.asarray(keys)
    if max_rows < 1:
        raise ValueError(f"max_rows is {max_rows}; it must be at least 1")
    if keys.size <= max_rows:
        return np.ones(keys.size, dtype=bool)
    # SipHash keyed with the seed; it takes text only, and pandas ignores the key for numbers.
    texts = keys if pd.api.types.infer_dtype(keys, skipna=False) == "string" else keys.astype(str)
    hashes = pd.util.hash_array(texts.astype(object), hash_key=f"{seed % 10**16:016d}", categorize=False)
    cutoff = np.partition(hashes, max_rows)[max_rows]
    kept = hashes < cutoff
    if not kept.any():
        raise ValueError(f"max_rows is {max_rows}, fewer than the rows of one key; raise it or pass finer keys")
    return np.asarray(kept)


def _fold(days: np.ndarray, first: date, last: date) -> Fold:
    import numpy as np

    start, end = np.datetime64(first), np.datetime64(last)
    validation = (days >= start) & (days <= end)
    if not validation.any():
        raise ValueError(f"days holds no rows from {first} to {last}, a validation block; use longer folds")
    return Fold(days < start, validation, first, last)
