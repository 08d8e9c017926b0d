"""What a request waits for its features, from SQLite and from Redis on loopback."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measurement import Measurement, say
from benchmarks.redis_server import NOT_INSTALLED, installed, redis_server

if TYPE_CHECKING:
    from lifecycle.pipeline import Pipeline
    from resources.feature_store import FeatureStore
    from resources.lake import Lake

DAYS = 40
READS, BATCHES, BATCH = 3_000, 200, 100
Requests = Sequence[Mapping[str, object]]


def measure(folder: Path) -> Iterator[Measurement]:
    """Asks for the flights of a day with 40 days of history behind it, one by one and by the hundred."""
    from pipelines.flight_delays import PIPELINE
    from resources.feature_store import FeatureStore
    from resources.settings import quiet_environment

    quiet_environment()
    home, last = folder / "online", PIPELINE.first_day + timedelta(days=DAYS - 1)
    lake = _history(PIPELINE, home, last)
    hundreds: list[tuple[float, str, str]] = []
    yield from _store(PIPELINE, "sqlite", FeatureStore(home, lake), last, hundreds)
    if installed():
        with redis_server() as server:
            yield from _store(PIPELINE, "redis", FeatureStore(home, lake, server.uri), last, hundreds)
    else:
        say(f"online_p99_ms_redis is not measured: {NOT_INSTALLED}")
    worst, name, spread = max(hundreds)
    yield Measurement(
        "online_100_ms",
        worst,
        "ms",
        "≤ 10",
        f"{BATCH} flights in one call of FeatureStore.online, all {len(PIPELINE.features)} features: median of "
        f"{BATCHES} calls, of the slower store ({name}; {spread}).",
    )


def _history(pipeline: Pipeline, home: Path, last: date) -> Lake:
    from lifecycle.calendar import days_between
    from pipelines.driver import Driver
    from resources.settings import Settings

    started = time.perf_counter()
    driver = Driver(pipeline, Settings(home=home))
    for day in days_between(pipeline.first_day, last):
        driver.land(day)
    if not driver.build_history(pipeline.first_day, last).success:
        raise RuntimeError(f"history up to {last} failed: a measurement of it would say nothing; look at the log above")
    say(f"history of {DAYS} days in {time.perf_counter() - started:.0f} s (not counted)")
    return driver.lake


def _store(
    pipeline: Pipeline, name: str, store: FeatureStore, last: date, hundreds: list[tuple[float, str, str]]
) -> Iterator[Measurement]:
    as_of = pipeline.calendar.close(last)
    store.refresh_online(pipeline, pipeline.calendar.open(last), as_of)
    requests = _requests(pipeline, store, last)
    reader = store.online_reader(pipeline)

    def ask(some: Requests) -> None:
        answers = store.online(pipeline, some, as_of)
        assert all(answer.features for answer in answers)

    columns = [{key: [value] for key, value in request.items()} for request in requests]
    reads = _times(lambda n: reader.read(columns[n % len(columns)], as_of), READS)
    asked = _times(lambda n: ask([requests[n % len(requests)]]), READS)
    cpu = _cpu(lambda n: ask([requests[n % len(requests)]]), READS)
    batches = _times(lambda n: ask([requests[(n * 7 + k) % len(requests)] for k in range(BATCH)]), BATCHES)
    say(f"{name}: stored rows of one flight {_spread(reads)}")
    say(f"{name}: all features of one flight {_spread(asked)}, {cpu:.2f} ms of CPU a call")
    say(f"{name}: all features of {BATCH} flights {_spread(batches)}")
    hundreds.append((statistics.median(batches), name, _spread(batches)))
    yield Measurement(
        f"online_p99_ms_{name}",
        _percentile(asked, 0.99),
        "ms",
        "≤ 2",
        f"One flight with all {len(pipeline.features)} features through FeatureStore.online: request checked, "
        f"{len(pipeline.views)} views read (the aircraft is looked up first), ttl applied, derived features computed, "
        f"answer by name; 99th percentile of {READS} calls in one process after warm-up ({_spread(asked)}; "
        f"{cpu:.2f} ms of CPU a call). The "
        f"reading of stored rows alone: {_spread(reads)}. {DAYS} days of real history"
        + (", Redis on loopback, two round trips." if name == "redis" else "."),
    )


def _requests(pipeline: Pipeline, store: FeatureStore, last: date) -> list[dict[str, object]]:
    from resources.tables import validated_table

    announced = store.lake.read(validated_table(pipeline, pipeline.spine.table), last, last)
    return announced.select(*pipeline.spine.columns, pipeline.spine.event_time).to_dicts()


def _times(call: Callable[[int], object], number: int) -> list[float]:
    """Milliseconds of each of so many calls, after a tenth as many for warm-up."""
    found = []
    for n in range(-number // 10, number):
        started = time.perf_counter()
        call(n)
        if n >= 0:
            found.append((time.perf_counter() - started) * 1e3)
    return found


def _cpu(call: Callable[[int], object], number: int) -> float:
    """Mean milliseconds of CPU of a call; what other programs on the machine do not change much."""
    started = time.process_time()
    for n in range(number):
        call(n)
    return (time.process_time() - started) / number * 1e3


def _percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[math.ceil(share * len(values)) - 1]


def _spread(values: Sequence[float]) -> str:
    return (
        f"median {statistics.median(values):.2f} ms, p99 {_percentile(values, 0.99):.2f} ms, max {max(values):.1f} ms"
    )
