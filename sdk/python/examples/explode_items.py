"""A flatten: one row per item."""

import gristmill


@gristmill.stage(
    reads="items array<struct<item_id long, name string>>",
    makes="item_id long, name string",
    drops=["items"],
)
def explode_items(row):
    return [item for item in row["items"] or [] if item is not None]


WitWorld = gristmill.export(explode_items)
