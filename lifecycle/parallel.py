"""Fits that do not wait for each other, on all cores.

What belongs here: running them. They are threads: the numerical libraries work outside of Python's lock, and are held
to one thread for each fit (``OMP_NUM_THREADS``). A long one may have more, see ``every_core``. Results do not depend on
how many cores there are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
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


@contextmanager
def every_core() -> Iterator[None]:
    """Lets OpenMP share out the work of this block over all cores, those that other fits leave idle too.

    For long fits that give the same result on any number of threads, as those of histogram gradient boosting do: each
    histogram is one thread's. Short ones take longer by it when several are under way.

    Without ``OMP_WAIT_POLICY=PASSIVE``, when OpenMP's threads spin while they wait, nothing is changed: more of them
    than cores would keep each other from work.
    """
    from threadpoolctl import threadpool_limits

    if os.environ.get("OMP_WAIT_POLICY", "").upper() != "PASSIVE":
        yield
        return
    with threadpool_limits(os.cpu_count(), user_api="openmp"):
        yield
