"""Between the contract's dates and timestamps and datetime's."""

from datetime import date, datetime, timedelta, timezone

_EPOCH_DAY = date(1970, 1, 1).toordinal()
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def date_of(days: int) -> date:
    """The date of a number of days. OverflowError: outside of the years 1 to 9999."""
    return date.fromordinal(days + _EPOCH_DAY)


def days_of(day: date) -> int:
    return day.toordinal() - _EPOCH_DAY


def time_of(micros: int) -> datetime:
    """The time, in UTC, of a number of microseconds. OverflowError: outside of the years 1 to 9999."""
    return _EPOCH + timedelta(microseconds=micros)


def micros_of(time: datetime) -> int:
    """A time without a zone is taken as UTC."""
    aware = time if time.tzinfo else time.replace(tzinfo=timezone.utc)
    return (aware - _EPOCH) // timedelta(microseconds=1)
