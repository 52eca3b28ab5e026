// All examples in one module, since the engine within it weighs 11 MB: the key `stage` of the
// configuration says which one runs.
import { stages, type Definition } from "@gristmill/stage";

/** A filter: keeps the rows whose city is the one of the configuration. */
const keep_city: Definition<{ city: string }, { city: string | null }> = {
  name: "keep_city",
  config: { city: "string" },
  reads: "city string",
  row: (row, config) => row.city === config.city,
};

type Order = { order_id: bigint | null; price: number | null; quantity: number | null };

/** A map: makes two columns and keeps every row. */
const with_total: Definition<{ currency: string }, Order> = {
  name: "with_total",
  config: { currency: "string" },
  reads: "order_id long, price double, quantity int",
  makes: "total double, label string not null",
  row: ({ order_id, price, quantity }, { currency }) => ({
    total: price === null || quantity === null ? null : price * quantity,
    label: order_id === null ? "order ?" : `order ${order_id} in ${currency}`,
  }),
};

type Item = { item_id: bigint | null; name: string | null };

/** A flatten: one row per item. */
const explode_items: Definition<{}, { items: (Item | null)[] | null }> = {
  name: "explode_items",
  reads: "items array<struct<item_id long, name string>>",
  makes: "item_id long, name string",
  drops: ["items"],
  row: ({ items }) => (items ?? []).filter((item) => item !== null),
};

/** Failures: refuses rows with a reason; the pipeline decides what becomes of them. */
const fails_odd: Definition<{}, { order_id: bigint | null }> = {
  name: "fails_odd",
  reads: "order_id long",
  row: ({ order_id }) => {
    if (order_id === null) throw new Error("no order_id");
    if (order_id % 2n !== 0n) throw new Error(`order_id ${order_id} is odd`);
    return true;
  },
};

const seen: unknown[] = [];

/** A stage that leaks: it remembers every row. This costs its instance now and then, and the host nothing. */
const leaks: Definition<{}, { city: string | null }> = {
  name: "leaks",
  reads: "city string",
  row: ({ city }) => seen.push([city, new Uint8Array(64)]) > 0,
};

/** Reads all columns, whatever they are, and makes them anew, value by value. */
const every_type: Definition = {
  name: "every_type",
  describe: (_config, input) => ({ reads: input, makes: input }),
  row: (row) => row,
};

/** keep_city at the level of columns. */
const keep_city_columns: Definition<{ city: string }> = {
  ...keep_city,
  row: undefined,
  batch({ columns: { city } }, output, config) {
    output.keepNone();
    city.toArray().forEach((value, row) => value === config.city && output.keepRow(row));
  },
};

/** with_total at the level of columns. */
const with_total_columns: Definition<{ currency: string }> = {
  ...with_total,
  row: undefined,
  batch({ rowCount, columns }, output, { currency }) {
    const [total, label] = [output.column("total"), output.column("label")];
    const { order_id, price, quantity } = columns;
    for (let row = 0; row < rowCount; row++) {
      const whole = !price.isNull(row) && !quantity.isNull(row);
      total.push(whole ? Number(price.values[row]) * Number(quantity.values[row]) : null);
      label.push(order_id.isNull(row) ? "order ?" : `order ${order_id.values[row]} in ${currency}`);
    }
  },
};

/** Gives every column back without looking into it. */
const every_type_columns: Definition = {
  ...every_type,
  row: undefined,
  batch({ columns }, output) {
    for (const [name, column] of Object.entries(columns)) output.give(name, column);
  },
};

export const { describe, process } = stages({
  keep_city, with_total, explode_items, fails_odd, every_type, leaks,
  keep_city_columns, with_total_columns, every_type_columns,
});
