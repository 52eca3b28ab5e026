// The stage's configuration against what the stage says of it:
// { city: "string", limit: { type: "long", default: 10 } }.

const CHECKS = {
  string: (value) => typeof value === "string",
  boolean: (value) => typeof value === "boolean",
  long: Number.isSafeInteger,
  double: (value) => typeof value === "number",
  list: Array.isArray,
  object: (value) => typeof value === "object" && value !== null && !Array.isArray(value),
};

/** Checks keys and types; `refusal` makes the error. */
export function readConfig(keys, given, refusal) {
  const config = {};
  for (const [key, declared] of Object.entries(keys)) {
    const { type, default: fallback } = typeof declared === "string" ? { type: declared } : declared;
    if (!Object.hasOwn(given, key)) {
      if (fallback === undefined) throw refusal(`config.${key}: this key is required`);
      config[key] = fallback;
    } else if (!CHECKS[type](given[key])) {
      throw refusal(`config.${key}: expected a ${type}`);
    } else {
      config[key] = given[key];
    }
  }
  for (const key of Object.keys(given)) {
    if (!Object.hasOwn(keys, key)) throw refusal(`config.${key}: unknown key${hint(Object.keys(keys))}`);
  }
  return config;
}

const SCHEMA_TYPES = {
  string: "string", boolean: "boolean", long: "integer", double: "number", list: "array", object: "object",
};

/** The JSON Schema of what is declared, for editors. */
export function configSchema(keys) {
  const properties = {};
  const required = [];
  for (const [key, declared] of Object.entries(keys)) {
    const { type, default: fallback } = typeof declared === "string" ? { type: declared } : declared;
    properties[key] = { type: SCHEMA_TYPES[type], default: fallback };
    if (fallback === undefined) required.push(key);
  }
  return { type: "object", properties, required, additionalProperties: false };
}

const hint = (keys) => (keys.length > 0 ? `; keys: ${keys.map((key) => `\`${key}\``).join(", ")}` : "");
