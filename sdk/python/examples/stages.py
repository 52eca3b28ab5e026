"""All examples in one module, since the interpreter within it weighs 17 MB: the key `stage` of the
configuration says which one runs."""

import gristmill


@gristmill.stage(reads="city string", config={"city": str})
def keep_city(row, config):
    """A filter: keeps the rows whose city is the one of the configuration."""
    return row["city"] == config["city"]


@gristmill.stage(
    reads="order_id long, price double, quantity int",
    makes="total double, label string not null",
    config={"currency": str},
)
def with_total(row, config):
    """A map: makes two columns and keeps every row."""
    order_id, price, quantity = row["order_id"], row["price"], row["quantity"]
    return {
        "total": None if price is None or quantity is None else price * quantity,
        "label": "order ?" if order_id is None else f"order {order_id} in {config['currency']}",
    }


@gristmill.stage(
    reads="items array<struct<item_id long, name string>>",
    makes="item_id long, name string",
    drops=["items"],
)
def explode_items(row):
    """A flatten: one row per item."""
    return [item for item in row["items"] or [] if item is not None]


@gristmill.stage(reads="order_id long")
def fails_odd(row):
    """Failures: refuses rows with a reason; the pipeline decides what becomes of them."""
    order_id = row["order_id"]
    if order_id is None:
        raise ValueError("no order_id")
    if order_id % 2:
        raise ValueError(f"order_id {order_id} is odd")
    return True


seen = []


@gristmill.stage(reads="city string")
def leaks(row):
    """A stage that leaks: it remembers every row. This costs its instance now and then, and the host nothing."""
    seen.append(bytearray(64))
    return True


def all_columns(config, columns):
    return {"reads": columns, "makes": columns}


@gristmill.stage(describe=all_columns)
def every_type(row):
    """Reads all columns, whatever they are, and makes them anew, value by value."""
    return row


@gristmill.columns(reads="city string", config={"city": str})
def keep_city_columns(batch, output, config):
    """keep_city at the level of columns."""
    wanted = config["city"]
    output.rows = [row for row, city in enumerate(batch["city"].to_list()) if city == wanted]


@gristmill.columns(
    reads="order_id long, price double, quantity int",
    makes="total double, label string not null",
    config={"currency": str},
)
def with_total_columns(batch, output, config):
    """with_total at the level of columns."""
    pairs = zip(batch["price"].to_list(), batch["quantity"].to_list())
    output["total"] = [None if a is None or b is None else a * b for a, b in pairs]
    ending = f" in {config['currency']}"
    ids = batch["order_id"].to_list()
    output["label"] = ["order ?" if id is None else f"order {id}{ending}" for id in ids]


@gristmill.columns(describe=all_columns)
def every_type_columns(batch, output, config):
    """Gives every column back without looking into it."""
    for name, column in batch.columns.items():
        output[name] = column


WitWorld = gristmill.export(
    keep_city, with_total, explode_items, fails_odd, every_type, leaks,
    keep_city_columns, with_total_columns, every_type_columns,
)
