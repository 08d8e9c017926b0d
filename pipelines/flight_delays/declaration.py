"""What ``flight_delays`` is: its sources, contract, features, label, plans and rules."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.calendar import Calendar
from lifecycle.contract import Column, Contract
from lifecycle.derived import hours_until_event, local_hour, local_weekday, minutes_between
from lifecycle.features import Aggregate, Derived, Feature, LatestView, Lookup, WindowView
from lifecycle.pipeline import CostMatrix, Label, Moment, Pipeline, RetrainPolicy, Spine, Table

if TYPE_CHECKING:
    import polars as pl

TIME_ZONE = "America/New_York"
CALENDAR = Calendar(TIME_ZONE, close_hour=3)
AIRPORTS = ("EWR", "JFK", "LGA")
LATE_MINUTES = 15
AIRCRAFT_REMEMBERED = timedelta(days=14)

ORIGIN = Column("origin", "string", "airport of departure, IATA code", one_of=AIRPORTS)
DEST = Column("dest", "string", "airport of arrival, IATA code")
CARRIER = Column("carrier", "string", "airline, IATA code")
FLIGHT_ID = Column("flight_id", "string", "carrier and number, origin, scheduled departure in UTC")
FLIGHT = Column("flight", "int", "flight number", minimum=1)

SCHEDULE = Table(
    "schedule",
    Contract(
        columns=(
            FLIGHT_ID,
            CARRIER,
            FLIGHT,
            ORIGIN,
            DEST,
            Column("scheduled_departure", "timestamp", "when it should leave"),
            Column("scheduled_arrival", "timestamp", "when it should arrive"),
            Column("distance", "int", "great-circle distance", unit="miles", minimum=1, maximum=12_000),
            Column("published_at", "timestamp", "when the schedule was published"),
        ),
        key=("flight_id",),
    ),
    known_at="published_at",
    description="The flights of the next day, published the day before.",
)

DEPARTURES = Table(
    "departures",
    Contract(
        columns=(
            FLIGHT_ID,
            CARRIER,
            FLIGHT,
            ORIGIN,
            DEST,
            Column("aircraft", "string", "tail number", required=False),
            Column("departed_at", "timestamp", "when it left"),
            Column(
                "departure_delay", "int", "later than scheduled; negative: early", "minutes", minimum=-180, maximum=2880
            ),
            Column("known_at", "timestamp", "the moment of departure"),
        ),
        key=("flight_id",),
    ),
    known_at="known_at",
    description="Flights as they left.",
)

OUTCOMES = Table(
    "outcomes",
    Contract(
        columns=(
            FLIGHT_ID,
            CARRIER,
            ORIGIN,
            DEST,
            Column("aircraft", "string", "tail number; missing for many cancelled flights", required=False),
            Column("scheduled_departure", "timestamp", "when it should have left"),
            Column("status", "string", "how it ended", one_of=("arrived", "cancelled", "diverted")),
            Column(
                "arrival_delay",
                "int",
                "later than scheduled; only if it arrived",
                unit="minutes",
                required=False,
                minimum=-240,
                maximum=2880,
            ),
            Column("known_at", "timestamp", "arrival, or when it was cancelled or diverted"),
        ),
        key=("flight_id",),
    ),
    known_at="known_at",
    description="How flights ended: arrived, cancelled or diverted.",
)

WEATHER = Table(
    "weather",
    Contract(
        columns=(
            ORIGIN,
            Column("observed_at", "timestamp", "hour of the observation"),
            Column("temp", "float", "temperature", unit="°F", required=False, minimum=-40, maximum=130),
            Column("dewp", "float", "dew point", unit="°F", required=False, minimum=-60, maximum=100),
            Column("humid", "float", "relative humidity", unit="%", required=False, minimum=0, maximum=100),
            Column("wind_dir", "float", "direction of the wind", unit="°", required=False, minimum=0, maximum=360),
            # One observation of the year says 1,048 mph: the contract keeps it out.
            Column("wind_speed", "float", "wind", unit="mph", required=False, minimum=0, maximum=150),
            Column("wind_gust", "float", "gusts", unit="mph", required=False, minimum=0, maximum=200),
            Column("precip", "float", "precipitation", unit="in/h", required=False, minimum=0, maximum=10),
            Column("pressure", "float", "sea level pressure", unit="mbar", required=False, minimum=900, maximum=1080),
            Column("visib", "float", "visibility", unit="miles", required=False, minimum=0, maximum=100),
            Column("known_at", "timestamp", "hour of the observation"),
        ),
        key=("origin", "observed_at"),
    ),
    known_at="known_at",
    description="Hourly weather at the airports of departure.",
)

AIRCRAFT = Table(
    "aircraft",
    Contract(
        columns=(
            Column("aircraft", "string", "tail number"),
            Column("year", "int", "year of manufacture", required=False, minimum=1930, maximum=2014),
            Column("manufacturer", "string", "who built it", required=False),
            Column("model", "string", "what it is", required=False),
            Column("engines", "int", "number of engines", required=False, minimum=1, maximum=8),
            Column("seats", "int", "number of seats", required=False, minimum=1, maximum=900),
            Column("engine", "string", "kind of engine", required=False),
            Column("known_at", "timestamp", "when the register was published"),
        ),
        key=("aircraft",),
    ),
    known_at="known_at",
    description="The register of aircraft.",
    cadence="occasional",
)

AIRPORT_FACTS = Table(
    "airports",
    Contract(
        columns=(
            DEST,
            Column("name", "string", "name of the airport", required=False),
            Column("lat", "float", "latitude", unit="°", minimum=-90, maximum=90),
            Column("lon", "float", "longitude", unit="°", minimum=-180, maximum=180),
            Column("alt", "float", "altitude", unit="feet", minimum=-2000, maximum=20_000),
            Column("tzone", "string", "IANA time zone", required=False),
            Column("known_at", "timestamp", "when the register was published"),
        ),
        key=("dest",),
    ),
    known_at="known_at",
    description="The register of airports.",
    cadence="occasional",
)


def not_on_time() -> pl.Expr:
    """1 if the flight arrived 15 minutes late or more, was cancelled or diverted."""
    import polars as pl

    late = pl.col("arrival_delay") >= LATE_MINUTES
    return ((pl.col("status") != "arrived") | late.fill_null(value=False)).cast(pl.Float64)


def _share(*windows: timedelta) -> Aggregate:
    return Aggregate("mean", windows, "not_on_time", expression=not_on_time, minimum=0, maximum=1)


def _hours(*hours: int) -> tuple[timedelta, ...]:
    return tuple(timedelta(hours=hour) for hour in hours)


def _days(*days: int) -> tuple[timedelta, ...]:
    return tuple(timedelta(days=day) for day in days)


VIEWS = (
    WindowView(
        "airport",
        ("origin",),
        "departures",
        (
            Aggregate("mean", _hours(3, 24), "departure_delay"),
            Aggregate("count", _hours(3)),
        ),
        "Delays at departure from an airport.",
    ),
    WindowView(
        "airport_outcomes",
        ("origin",),
        "outcomes",
        (_share(*_hours(3, 24), *_days(7)),),
        "Flights from an airport not on time.",
    ),
    WindowView(
        "airline",
        ("carrier",),
        "outcomes",
        (_share(*_hours(6, 24), *_days(7, 28)),),
        "Flights of an airline not on time.",
    ),
    WindowView(
        "airline_airport",
        ("carrier", "origin"),
        "outcomes",
        (_share(*_hours(6, 24), *_days(7, 28)), Aggregate("count", _days(7))),
        "Flights of an airline from an airport not on time.",
    ),
    WindowView(
        "destination",
        ("dest",),
        "outcomes",
        (_share(*_hours(6, 24), *_days(28)),),
        "Flights to a destination not on time.",
    ),
    WindowView(
        "route",
        ("origin", "dest"),
        "outcomes",
        (_share(*_days(2, 7, 28)), Aggregate("mean", _days(7), "arrival_delay")),
        "Flights on a route not on time, and their delay at arrival.",
    ),
    LatestView(
        "flight_number",
        ("carrier", "flight", "origin"),
        "departures",
        (("aircraft", Feature("last_aircraft", "string", "aircraft that last flew under the number")),),
        "The aircraft that a flight is likely to have.",
        ttl=AIRCRAFT_REMEMBERED,
        needs=("aircraft",),
    ),
    WindowView(
        "aircraft",
        ("aircraft",),
        "departures",
        (Aggregate("mean", (*_hours(24), *_days(7)), "departure_delay"), Aggregate("count", _days(7))),
        "Delays at departure of an aircraft.",
    ),
    LatestView(
        "weather",
        ("origin",),
        "weather",
        (
            ("temp", Feature("temperature", "float", "last observed temperature, °F", -40, 130)),
            ("humid", Feature("humidity", "float", "last observed relative humidity, %", 0, 100)),
            ("wind_speed", Feature("wind_speed", "float", "last observed wind, mph", 0, 150)),
            ("precip", Feature("precipitation", "float", "last observed precipitation, in/h", 0, 10)),
            ("pressure", Feature("pressure", "float", "last observed sea level pressure, mbar", 900, 1080)),
            ("visib", Feature("visibility", "float", "last observed visibility, miles", 0, 100)),
        ),
        "The latest weather at the airport of departure.",
        ttl=timedelta(hours=12),
    ),
    LatestView(
        "aircraft_facts",
        ("aircraft",),
        "aircraft",
        (
            ("year", Feature("aircraft_year", "int", "year of manufacture", 1930, 2014)),
            ("seats", Feature("aircraft_seats", "int", "number of seats", 1, 900)),
            ("engines", Feature("aircraft_engines", "int", "number of engines", 1, 8)),
        ),
        "What the register says of an aircraft.",
    ),
    LatestView(
        "airport_facts",
        ("dest",),
        "airports",
        (
            ("lat", Feature("destination_latitude", "float", "latitude of the destination, °", -90, 90)),
            ("lon", Feature("destination_longitude", "float", "longitude of the destination, °", -180, 180)),
            ("alt", Feature("destination_altitude", "float", "altitude of the destination, feet", -2000, 20_000)),
        ),
        "Where the destination is.",
    ),
)


def _land(landing: Path, day: date) -> list[Path]:
    from pipelines.flight_delays.feed import land

    return land(landing, day)


PIPELINE = Pipeline(
    name="flight_delays",
    description="Will a flight leaving New York City in 2013 be on time?",
    owner="team:flight-operations",
    calendar=CALENDAR,
    # The day before the first flights brings their schedule; the last flights' schedule comes on 30 December.
    first_day=date(2012, 12, 31),
    last_day=date(2013, 12, 30),
    tables=(SCHEDULE, DEPARTURES, OUTCOMES, WEATHER, AIRCRAFT, AIRPORT_FACTS),
    views=VIEWS,
    spine=Spine(
        table="schedule",
        key=("flight_id",),
        event_time="scheduled_departure",
        moments=(Moment("batch"), Moment("online", lead=timedelta(hours=2))),
        columns=("carrier", "flight", "origin", "dest", "distance", "scheduled_arrival"),
    ),
    # The tail number is recorded after the fact and missing for many cancelled flights: its absence would give the
    # answer away. The aircraft that last flew under the number says nothing about the flight itself.
    lookups=(Lookup("aircraft", view="flight_number", feature="last_aircraft"),),
    derived=(
        Derived(
            Feature("lead_hours", "float", "hours between the prediction and the scheduled departure", 0, 30),
            hours_until_event,
        ),
        Derived(
            Feature("hour", "float", "scheduled hour of departure, local time", 0, 24),
            local_hour("event_time", TIME_ZONE),
        ),
        Derived(
            Feature("weekday", "float", "day of the week of departure, Monday is 1", 1, 7),
            local_weekday("event_time", TIME_ZONE),
        ),
        Derived(
            Feature("planned_minutes", "float", "scheduled duration", 0, 1500),
            minutes_between("event_time", "scheduled_arrival"),
        ),
        Derived(Feature("distance", "float", "distance, miles", 1, 12_000)),
        Derived(Feature("carrier", "string", "airline")),
        Derived(Feature("origin", "string", "airport of departure")),
    ),
    label=Label(
        "not_on_time",
        "outcomes",
        not_on_time,
        f"Arrived {LATE_MINUTES} minutes late or more, cancelled, or diverted.",
    ),
    task="classification",
    # A spare crew and a held gate cost 300 a flight and save 1,000 when the flight is in fact late.
    costs=CostMatrix(true_positive=700, false_positive=-300, false_negative=0, true_negative=0),
    slices=("carrier", "origin"),
    # Beside what goes wrong, there is more to learn from while nothing is wrong: four weeks of labels are a tenth to a
    # third of what the champion learnt from. The probe tells, for the cost of one fit, whether they would help.
    retraining=RetrainPolicy(every_days=28, probe_confidence=0.5),
    feed=_land,
)
