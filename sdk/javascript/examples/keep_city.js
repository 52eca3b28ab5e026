// A filter, and a module of its own: keeps the rows whose city is the one of the configuration.
import { stage } from "@gristmill/stage";

export const { describe, process } = stage({
  name: "keep_city",
  config: { city: "string" },
  reads: "city string",
  row: (row, config) => row.city === config.city,
});
