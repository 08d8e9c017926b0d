"""Business days and the moments they close. What belongs here: day arithmetic; not partitions or schedules."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

WEEK_DAYS = 7


@dataclass(frozen=True)
class Calendar:
    """The business days of a pipeline.

    Parameters
    ----------
    timezone : IANA name of the zone in which people speak of "the day".
    close_hour : local hour on D+1 at which D closes; the nightly run of D may start then.

    Examples
    --------
    >>> calendar = Calendar("America/New_York", close_hour=3)
    >>> calendar.close(date(2013, 1, 1)).isoformat()
    '2013-01-02T08:00:00+00:00'
    >>> calendar.day_of(datetime(2013, 1, 2, 8, tzinfo=UTC))
    datetime.date(2013, 1, 1)
    >>> calendar.day_of(datetime(2013, 1, 2, 8, 0, 1, tzinfo=UTC))
    datetime.date(2013, 1, 2)
    """

    timezone: str
    close_hour: int = 3

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    def close(self, day: date) -> datetime:
        """The moment (UTC) at which ``day`` closes: ``close_hour`` local time on the next day."""
        local = datetime.combine(day + timedelta(days=1), time(self.close_hour), self.zone)
        return local.astimezone(UTC)

    def open(self, day: date) -> datetime:
        """The moment (UTC) after which facts belong to ``day``: the close of the day before."""
        return self.close(day - timedelta(days=1))

    def day_of(self, moment: datetime) -> date:
        """The business day whose window (close of D-1, close of D] holds ``moment``.

        Raises
        ------
        ValueError
            If ``moment`` has no time zone.
        """
        if moment.tzinfo is None:
            raise ValueError(f"moment {moment} has no time zone; pass an aware datetime")
        day = moment.astimezone(self.zone).date()
        for candidate in (day - timedelta(days=1), day):
            if moment <= self.close(candidate):
                return candidate
        return day + timedelta(days=1)


def days_between(first: date, last: date) -> list[date]:
    """All days from ``first`` to ``last``, both included; empty when ``last`` is earlier."""
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]
