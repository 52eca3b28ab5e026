// A map, and a module of its own: makes two columns and keeps every row.
import { stage } from "@gristmill/stage";

type Order = { order_id: bigint | null; price: number | null; quantity: number | null };

export const { describe, process } = stage<{ currency: string }, Order>({
  name: "with_total",
  config: { currency: "string" },
  reads: "order_id long, price double, quantity int",
  makes: "total double, label string not null",
  row: ({ order_id, price, quantity }, { currency }) => ({
    total: price === null || quantity === null ? null : price * quantity,
    label: order_id === null ? "order ?" : `order ${order_id} in ${currency}`,
  }),
});
