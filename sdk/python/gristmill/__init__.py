"""Write a Gristmill stage in Python: a transformation of rows that runs as a WebAssembly component
inside a pipeline.

    import gristmill

    @gristmill.stage(reads="city string", config={"city": str})
    def keep_city(row, config):
        return row["city"] == config["city"]

    WitWorld = gristmill.export(keep_city)

Values: boolean is bool; integer, long, date (days since 1970-01-01) and timestamp (microseconds since
1970-01-01 in UTC) are int; float and double are float; decimal is decimal.Decimal; string is str;
binary is bytes; a struct is a dict, an array a list, a map a dict; null is None. Dates and
timestamps are numbers since datetime knows the years 1 to 9999 only: see date_of and time_of.
"""

from ._stage import Refusal, columns, export, stage
from ._time import date_of, days_of, micros_of, time_of
from ._types import Field, Type

__all__ = [
    "Field", "Refusal", "Type", "columns", "date_of", "days_of", "export", "micros_of", "stage",
    "time_of",
]
