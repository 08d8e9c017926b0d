"""Columns of frames as the numbers that models take, learnt fast.

What belongs here: fitting the column transformations of ``models.py`` on many rows. Which they are is said there.

scikit-learn sorts masked arrays for a median and counts texts one by one in Python, which takes longer than to fit a
model and keeps other threads waiting. All that its imputers and encoders learn are the medians, which columns have
gaps, which texts occur and which of them are rare. So they are fitted on a few rows that say the same of all this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from sklearn.compose import ColumnTransformer


def fit_transform(
    columns: ColumnTransformer, inputs: pd.DataFrame, numeric: Sequence[str], categorical: Sequence[str], frequent: int
) -> np.ndarray:
    """Fit a transformation of columns on all rows, and what it makes of them.

    Parameters
    ----------
    columns : fitted in place, to the same last digit as by its own ``fit_transform``. It has a part "numbers"; where
        that is a pipeline, its last step learns from all rows, and those before it from medians and gaps alone.
    inputs : (rows,) frame; ``numeric`` columns hold numbers, ``categorical`` ones texts, and each holds a value.
    frequent : texts of a column that an encoder tells from the rare ones, at most.

    Returns
    -------
    (rows, features) array
    """
    from sklearn.pipeline import Pipeline

    columns.fit(summary(inputs, numeric, categorical, frequent))
    numbers = columns.named_transformers_["numbers"]
    if numeric and isinstance(numbers, Pipeline):
        numbers[-1].fit(numbers[:-1].transform(inputs[list(numeric)]))
    return columns.transform(inputs)


def summary(inputs: pd.DataFrame, numeric: Sequence[str], categorical: Sequence[str], frequent: int) -> pd.DataFrame:
    """Few rows with the medians, gaps and texts of many, in which the same texts are the frequent ones.

    Parameters
    ----------
    frequent : texts of a column that come more than once, at most; of equally many, those that come last in order.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"wind": [1.0, 9.0, None, 2.0], "carrier": ["AA", "UA", "UA", None]})
    >>> summary(rows, ["wind"], ["carrier"], 1)
       wind carrier
    0   2.0      AA
    1   NaN    None
    2   2.0      UA
    3   2.0      UA
    """
    import numpy as np
    import pandas as pd

    texts = {name: _few_texts(inputs[name], frequent) for name in categorical}
    height = max([2, *(found.size for found in texts.values())])
    made: dict[str, np.ndarray] = {}
    for name, found in texts.items():
        made[name] = np.append(found, np.repeat(found[-1:], height - found.size))
    for name in numeric:
        values = inputs[name].to_numpy(dtype=float)
        missing = np.isnan(values)
        made[name] = np.full(height, np.median(values[~missing]))
        if missing.any():
            made[name][1] = np.nan
    # Columns that take no part are there too: the transformation knows frames by all their columns.
    others = {name: np.full(height, np.nan) for name in inputs.columns if name not in made}
    return pd.DataFrame({**made, **others})[list(inputs.columns)]


def _few_texts(column: pd.Series, frequent: int) -> np.ndarray:
    """Every text of a column, rare ones first, the most frequent ones twice; a missing one is a text too."""
    import numpy as np
    import pandas as pd

    codes, found = pd.factorize(column, sort=True)
    texts, missing = np.asarray(found, dtype=object), codes < 0
    if missing.any():
        codes = np.where(missing, texts.size, codes)
        texts = np.append(texts, column.to_numpy(dtype=object)[missing.argmax()])
    order = np.argsort(np.bincount(codes, minlength=texts.size), kind="stable")
    return np.concatenate([texts[order], texts[order[-frequent:]]])
