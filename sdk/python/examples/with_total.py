"""A map: makes two columns and keeps every row."""

import gristmill


@gristmill.stage(
    reads="order_id long, price double, quantity int",
    makes="total double, label string not null",
    config={"currency": str},
)
def with_total(row, config):
    order_id, price, quantity = row["order_id"], row["price"], row["quantity"]
    return {
        "total": None if price is None or quantity is None else price * quantity,
        "label": "order ?" if order_id is None else f"order {order_id} in {config['currency']}",
    }


WitWorld = gristmill.export(with_total)
