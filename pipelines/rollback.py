"""Takes a deployment back: `python -m pipelines.rollback flight_delays --why "complaints from the desk"`.

The alias moves to the version that served before (or the one named with ``--to``), and with it the features, the
threshold and the reference; the ledger has who did it, and why.
"""

from __future__ import annotations

import argparse
import getpass
import sys
import time
from datetime import UTC, datetime

from resources.configured import plain_clients
from resources.settings import Settings, quiet_environment


def rollback(settings: Settings, pipeline: str, why: str, to: int | None = None, by: str = "") -> tuple[int, int]:
    """Lets an earlier version serve again; returns (the version that served, the one that serves now).

    Raises
    ------
    ValueError
        If nothing serves, or no version served before the champion.
    """
    registry, ledger = plain_clients(settings)
    champion = registry.champion(pipeline)
    if champion is None:
        raise ValueError(f"nothing serves for {pipeline!r}: there is nothing to roll back")
    number = to if to is not None else ledger.served_before(pipeline, champion.number)
    if number is None:
        raise ValueError(f"version {champion.number} of {pipeline!r} is the first that served; name one with --to")
    earlier = registry.version(pipeline, number)
    registry.promote(earlier)
    day = max(champion.day, ledger.last_day(pipeline) or champion.day)
    ledger.record(pipeline, day, "rollback", by or getpass.getuser(), why, earlier.number, champion.number)
    return champion.number, earlier.number


def main(arguments: list[str] | None = None) -> int:
    quiet_environment()
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("pipeline")
    parser.add_argument("--to", type=int, help="the version to serve; default: the one before")
    parser.add_argument("--why", required=True, help="the reason, for the ledger")
    chosen = parser.parse_args(arguments)
    started = time.perf_counter()
    try:
        before, after = rollback(Settings(), chosen.pipeline, chosen.why, chosen.to)
    except ValueError as error:
        parser.error(str(error))
    took = time.perf_counter() - started
    print(f"{datetime.now(UTC):%H:%M:%S} version {after} serves, version {before} does not; took {took:.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
