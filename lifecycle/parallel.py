"""Fits that do not wait for each other, on all cores.

What belongs here: running them. They are threads: the numerical libraries work outside of Python's lock, and each fit
is held to one thread of its own (``OMP_NUM_THREADS``), so that results do not depend on how many cores there are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """The results of a function for some items, in their order, as they come; computed at once as far as cores allow.

    Whoever stops asking stops what has not begun. With one core it is a plain loop.

    Examples
    --------
    >>> list(in_order(lambda number: number**2, [3, 1, 2]))
    [9, 1, 4]
    """
    workers = min(len(items), os.cpu_count() or 1)
    if workers < 2:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        pending = [pool.submit(function, item) for item in items]
        try:
            for one in pending:
                yield one.result()
        finally:
            for one in pending:
                one.cancel()
