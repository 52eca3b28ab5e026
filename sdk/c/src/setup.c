/* `describe`: the configuration, what is read and what is made. */
#include "internal.h"

#define COUNT(buffer, type) ((uint32_t)((buffer).size / sizeof(type)))

static gm_text no_text(void) { return (gm_text){"", 0}; }

void gm_refuse(gm_setup *setup, const char *key, const char *format, ...) {
  if (setup->mistake.size) return;
  if (key) {
    gm_append_text(&setup->mistake, "config.");
    gm_append_text(&setup->mistake, key);
    gm_append_text(&setup->mistake, ": ");
  }
  va_list arguments;
  va_start(arguments, format);
  gm_append_format(&setup->mistake, format, arguments);
  va_end(arguments);
}

/* ---- configuration ------------------------------------------------------------------------- */

/* Notes a key for the schema of the configuration. */
static void note_key(gm_setup *setup, const char *key, const char *type, bool required) {
  if (setup->keys.size) gm_append_text(&setup->keys, ",");
  gm_json_write_text(&setup->keys, gm_text_of(key));
  gm_append_text(&setup->keys, ":{\"type\":\"");
  gm_append_text(&setup->keys, type);
  gm_append_text(&setup->keys, "\"}");
  if (!required) return;
  if (setup->required_keys.size) gm_append_text(&setup->required_keys, ",");
  gm_json_write_text(&setup->required_keys, gm_text_of(key));
}

/* The key's value; NULL: it is not there, which is a mistake if it is required, or of another kind. `type` is JSON
 * Schema's word for the kind. */
static gm_json *config(gm_setup *setup, const char *key, const char *type, gm_json_kind kind, bool required,
                       const char *expected) {
  gm_json *value = gm_json_member(setup->config, key);
  note_key(setup, key, type, required);
  if (!value) {
    if (required) gm_refuse(setup, key, "this key is required");
    return NULL;
  }
  value->asked = true;
  if (value->kind == kind) return value;
  gm_refuse(setup, key, "expected %s", expected);
  return NULL;
}

gm_text gm_config_text(gm_setup *setup, const char *key) {
  gm_json *value = config(setup, key, "string", GM_JSON_TEXT, true, "a text");
  return value ? value->text : no_text();
}

gm_text gm_config_text_or(gm_setup *setup, const char *key, const char *fallback) {
  gm_json *value = config(setup, key, "string", GM_JSON_TEXT, false, "a text");
  return value ? value->text : gm_text_of(fallback);
}

static int64_t whole(gm_setup *setup, const char *key, gm_json *value, int64_t fallback) {
  if (!value) return fallback;
  char *end;
  long long number = strtoll(value->text.data, &end, 10);
  if (*end) gm_refuse(setup, key, "expected a whole number");
  return number;
}

int64_t gm_config_long(gm_setup *setup, const char *key) {
  return whole(setup, key, config(setup, key, "integer", GM_JSON_NUMBER, true, "a whole number"), 0);
}

int64_t gm_config_long_or(gm_setup *setup, const char *key, int64_t fallback) {
  return whole(setup, key, config(setup, key, "integer", GM_JSON_NUMBER, false, "a whole number"), fallback);
}

double gm_config_double(gm_setup *setup, const char *key) {
  gm_json *value = config(setup, key, "number", GM_JSON_NUMBER, true, "a number");
  return value ? strtod(value->text.data, NULL) : 0;
}

double gm_config_double_or(gm_setup *setup, const char *key, double fallback) {
  gm_json *value = config(setup, key, "number", GM_JSON_NUMBER, false, "a number");
  return value ? strtod(value->text.data, NULL) : fallback;
}

bool gm_config_boolean_or(gm_setup *setup, const char *key, bool fallback) {
  gm_json *value = config(setup, key, "boolean", GM_JSON_BOOLEAN, false, "true or false");
  return value ? value->boolean : fallback;
}

void gm_config_schema(gm_setup *setup, const char *json) { setup->config_schema = json; }

/* ---- columns ------------------------------------------------------------------------------- */

const gm_field *gm_input(const gm_setup *setup, uint32_t *count) {
  *count = setup->input_count;
  return setup->input;
}

static const gm_field *input_field(gm_setup *setup, const char *name) {
  for (uint32_t i = 0; i < setup->input_count; i++) {
    if (gm_text_equal(setup->input[i].name, gm_text_of(name))) return &setup->input[i];
  }
  gm_refuse(setup, NULL, "the stage reads `%s`, and there is no such column", name);
  return NULL;
}

/* A type that the author of the stage wrote; a wrong one is a mistake in the stage. */
static bool parsed(gm_setup *setup, const char *column, const char *text, gm_type *type, bool *nullable) {
  if (gm_type_parse(text, type, nullable)) return true;
  gm_refuse(setup, NULL, "the stage gives column `%s` a type that there is not: %s", column, text);
  return false;
}

int gm_read(gm_setup *setup, const char *column, const char *type) {
  const gm_field *field = input_field(setup, column);
  gm_type wanted;
  bool nullable;
  if (!field) return 0;
  if (type) {
    if (!parsed(setup, column, type, &wanted, &nullable)) return 0;
    if (!gm_type_equal(&wanted, &field->type)) {
      gm_refuse(setup, NULL, "the stage reads column `%s` as %s, and it is of another type", column, type);
      return 0;
    }
  }
  gm_append(&setup->reads, field, sizeof *field);
  return (int)COUNT(setup->reads, gm_field) - 1;
}

int gm_read_all(gm_setup *setup) {
  gm_append(&setup->reads, setup->input, setup->input_count * sizeof(gm_field));
  return (int)setup->input_count;
}

int gm_make_field(gm_setup *setup, const gm_field *field) {
  gm_append(&setup->makes, field, sizeof *field);
  return (int)COUNT(setup->makes, gm_field) - 1;
}

int gm_make(gm_setup *setup, const char *column, const char *type) {
  gm_field field = {.name = gm_text_of(column)};
  if (!parsed(setup, column, type, &field.type, &field.nullable)) return 0;
  return gm_make_field(setup, &field);
}

void gm_drop(gm_setup *setup, const char *column) {
  const gm_field *field = input_field(setup, column);
  if (field) gm_append(&setup->drops, &field->name, sizeof field->name);
}

/* ---- request and answer -------------------------------------------------------------------- */

static bool request(gm_setup *setup, gm_text text) {
  gm_json *json = gm_json_parse(text), *input = gm_json_member(json, "input");
  gm_json *contract = gm_json_member(json, "contract");
  if (!contract || !input) {
    gm_refuse(setup, NULL, "the request of describe is malformed");
    return false;
  }
  if (contract->text.size < 2 || memcmp(contract->text.data, "1.", 2) != 0) {
    gm_refuse(setup, NULL, "the host speaks contract %.*s, this module 1.0", (int)contract->text.size, contract->text.data);
    return false;
  }
  gm_buffer fields = {0};
  for (gm_json *column = input->first; column; column = column->next) {
    gm_field field;
    if (!gm_field_of_json(column, &field)) {
      gm_refuse(setup, NULL, "the request of describe has a column of a type that the module does not know");
      return false;
    }
    gm_append(&fields, &field, sizeof field);
  }
  setup->config = gm_json_member(json, "config");
  setup->input = (const gm_field *)fields.data;
  setup->input_count = COUNT(fields, gm_field);
  return true;
}

static void refuse_unknown_keys(gm_setup *setup) {
  if (!setup->config) return;
  for (gm_json *member = setup->config->first; member; member = member->next) {
    if (member->asked) continue;
    char *key = gm_allocate(member->name.size + 1);
    memcpy(key, member->name.data, member->name.size);
    key[member->name.size] = 0;
    gm_refuse(setup, key, "unknown key");
  }
}

static void names_write(gm_buffer *out, const char *member, const gm_text *names, uint32_t count, size_t stride) {
  gm_append_text(out, member);
  for (uint32_t i = 0; i < count; i++) {
    if (i) gm_append_text(out, ",");
    gm_json_write_text(out, *(const gm_text *)((const char *)names + i * stride));
  }
}

static void answer_write(const gm_setup *setup, const gm_stage *stage, gm_buffer *out) {
  const gm_field *reads = (const gm_field *)setup->reads.data, *makes = (const gm_field *)setup->makes.data;
  gm_append_text(out, "{\"contract\":\"1.0\",\"encoding\":\"frame\",\"name\":");
  gm_json_write_text(out, gm_text_of(stage->name));
  gm_append_text(out, ",\"version\":");
  gm_json_write_text(out, gm_text_of(stage->version));
  names_write(out, ",\"reads\":[", reads ? &reads->name : NULL, COUNT(setup->reads, gm_field), sizeof *reads);
  names_write(out, "],\"drops\":[", (const gm_text *)setup->drops.data, COUNT(setup->drops, gm_text), sizeof(gm_text));
  gm_append_text(out, "],\"columns\":[");
  for (uint32_t i = 0; i < COUNT(setup->makes, gm_field); i++) {
    if (i) gm_append_text(out, ",");
    gm_field_write(out, &makes[i]);
  }
  gm_append_text(out, "],\"config_schema\":");
  if (setup->config_schema) {
    gm_append_text(out, setup->config_schema);
  } else {
    gm_append_text(out, "{\"type\":\"object\",\"properties\":{");
    gm_append(out, setup->keys.data, setup->keys.size);
    gm_append_text(out, "},\"required\":[");
    gm_append(out, setup->required_keys.data, setup->required_keys.size);
    gm_append_text(out, "],\"additionalProperties\":false}");
  }
  gm_append_text(out, "}");
}

bool gm_describe(gm_setup *setup, const gm_stage *stage, gm_text text, gm_buffer *answer) {
  memset(setup, 0, sizeof *setup);
  if (request(setup, text)) {
    stage->describe(setup);
    refuse_unknown_keys(setup);
  }
  answer->size = 0;
  if (setup->mistake.size) {
    gm_append(answer, setup->mistake.data, setup->mistake.size);
    return false;
  }
  answer_write(setup, stage, answer);
  return true;
}
