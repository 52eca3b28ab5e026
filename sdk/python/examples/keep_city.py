"""A filter: keeps the rows whose city is the one of the configuration."""

import gristmill


@gristmill.stage(reads="city string", config={"city": str})
def keep_city(row, config):
    return row["city"] == config["city"]


WitWorld = gristmill.export(keep_city)
