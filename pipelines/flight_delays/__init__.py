"""The pipeline ``flight_delays``: will a flight leaving New York City be on time?

Not on time, in the sense of the US Department of Transportation: arriving 15 minutes late or more, cancelled, or
diverted. The data is of 2013 and real (``source.py``); ``feed.py`` lands it day by day as an upstream would.
Everything that is particular to this model stands in this folder.
"""

from __future__ import annotations

from pipelines.flight_delays.declaration import PIPELINE

__all__ = ["PIPELINE"]
