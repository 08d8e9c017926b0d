"""A sketch of a numeric sample: its distribution function at a few hundred of its values.

What belongs here: making the sketch and reading shares off it. Distances between a sketch and a sample are in
``distances.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

LEVELS = 200  # less than 1/200 of the rows lie between two neighbouring values of the sketch


@dataclass(frozen=True)
class Sketch:
    """The distribution function of a sample, exact at ``values`` and within ``resolution`` between them.

    Parameters
    ----------
    values : ascending and distinct, from the minimum to the maximum.
    below, upto : rows less than each value, and rows not greater than it; the difference is the mass of ties.
    """

    values: tuple[float, ...]
    below: tuple[int, ...]
    upto: tuple[int, ...]

    @property
    def rows(self) -> int:
        return self.upto[-1]

    @property
    def resolution(self) -> float:
        """Largest share of rows strictly between two neighbouring values; what a share read off it may be wrong by."""
        gaps = [after - before for before, after in zip(self.upto[:-1], self.below[1:], strict=True)]
        return max(gaps, default=0) / self.rows


def sketch(values: np.ndarray, levels: int | None = LEVELS) -> Sketch | None:
    """The sketch of a sample.

    Parameters
    ----------
    values : (rows,) numbers; those that are not finite are left out.
    levels : quantiles to keep; None keeps every distinct value, which is exact.

    Returns
    -------
    Sketch or None
        None when no value is finite.

    Examples
    --------
    >>> import numpy as np
    >>> sketch(np.array([3.0, 1.0, 1.0, np.nan]))
    Sketch(values=(1.0, 3.0), below=(0, 2), upto=(2, 3))
    """
    import numpy as np

    ordered = np.sort(values[np.isfinite(values)])
    if not ordered.size:
        return None
    kept = ordered
    if levels is not None:
        places = np.arange(levels + 1) * (ordered.size - 1) // levels
        kept = ordered[places]
    kept = np.unique(kept)
    below, upto = (np.searchsorted(ordered, kept, side=side) for side in ("left", "right"))
    return Sketch(tuple(kept.tolist()), tuple(below.tolist()), tuple(upto.tolist()))
