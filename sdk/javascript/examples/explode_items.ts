// A flatten, and a module of its own: one row per item.
import { stage } from "@gristmill/stage";

type Item = { item_id: bigint | null; name: string | null };

export const { describe, process } = stage<{}, { items: (Item | null)[] | null }>({
  name: "explode_items",
  reads: "items array<struct<item_id long, name string>>",
  makes: "item_id long, name string",
  drops: ["items"],
  row: ({ items }) => (items ?? []).filter((item) => item !== null),
});
