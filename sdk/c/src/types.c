/* Types: out of describe's JSON, out of SQL's words, and into JSON again. */
#include "internal.h"

static const struct {
  const char *json, *sql;
  gm_kind kind;
  uint32_t size;
} SCALARS[] = {
    {"boolean", "bool", GM_BOOLEAN, 0},   {"integer", "int", GM_INTEGER, 4},
    {"long", "bigint", GM_LONG, 8},       {"float", "real", GM_FLOAT, 4},
    {"double", "double", GM_DOUBLE, 8},   {"date", "date", GM_DATE, 4},
    {"timestamp", "timestamp", GM_TIMESTAMP, 8}, {"string", "string", GM_STRING, 0},
    {"binary", "binary", GM_BINARY, 0},
};
#define SCALAR_COUNT (sizeof SCALARS / sizeof *SCALARS)

uint32_t gm_value_size(gm_kind kind) {
  if (kind == GM_DECIMAL) return 16;
  for (size_t i = 0; i < SCALAR_COUNT; i++) {
    if (SCALARS[i].kind == kind) return SCALARS[i].size;
  }
  return 0;
}

/* ---- as in SQL ----------------------------------------------------------------------------- */

typedef struct {
  const char *at;
} words;

static void blanks(words *in) {
  while (*in->at == ' ' || *in->at == '\n' || *in->at == '\t') in->at++;
}

static bool take(words *in, char c) {
  blanks(in);
  if (*in->at != c) return false;
  in->at++;
  return true;
}

static gm_text name(words *in) {
  blanks(in);
  const char *start = in->at;
  while (*in->at && !strchr(" \n\t,:()<>", *in->at)) in->at++;
  return (gm_text){start, (size_t)(in->at - start)};
}

static bool whole(words *in, uint8_t *number) {
  blanks(in);
  char *end;
  unsigned long read = strtoul(in->at, &end, 10);
  if (end == in->at || read > 38) return false;
  in->at = end;
  *number = (uint8_t)read;
  return true;
}

static bool is(gm_text text, const char *word) { return gm_text_equal(text, gm_text_of(word)); }

static bool not_null(words *in) {
  words ahead = *in;
  if (!is(name(&ahead), "not") || !is(name(&ahead), "null")) return false;
  *in = ahead;
  return true;
}

static bool type(words *in, gm_type *out, int depth);

/* A type with its `not null`. */
static bool field(words *in, const char *name, gm_field *out, int depth) {
  if (name) out->name = gm_text_of(name);
  if (!type(in, &out->type, depth)) return false;
  out->nullable = !not_null(in);
  return true;
}

static bool nested(words *in, gm_type *out, int depth, gm_kind kind, const char *first, const char *second) {
  gm_field *fields = gm_allocate(2 * sizeof *fields);
  *out = (gm_type){.kind = kind, .field_count = second ? 2 : 1, .fields = fields};
  if (!take(in, '<') || !field(in, first, &fields[0], depth)) return false;
  if (second && !(take(in, ',') && field(in, second, &fields[1], depth))) return false;
  if (second) fields[0].nullable = false; /* A key is never null. */
  return take(in, '>');
}

static bool structure(words *in, gm_type *out, int depth) {
  gm_buffer fields = {0};
  if (!take(in, '<')) return false;
  do {
    gm_field member = {.name = name(in)};
    take(in, ':');
    if (!member.name.size || !field(in, NULL, &member, depth)) return false;
    gm_append(&fields, &member, sizeof member);
  } while (take(in, ','));
  *out = (gm_type){.kind = GM_STRUCT, .field_count = (uint32_t)(fields.size / sizeof(gm_field)), .fields = (void *)fields.data};
  return take(in, '>');
}

static bool decimal(words *in, gm_type *out) {
  *out = (gm_type){.kind = GM_DECIMAL, .precision = 10};
  if (!take(in, '(')) return true;
  if (!whole(in, &out->precision)) return false;
  if (take(in, ',') && !whole(in, &out->scale)) return false;
  return take(in, ')') && out->precision > 0 && out->scale <= out->precision;
}

static bool type(words *in, gm_type *out, int depth) {
  if (depth > GM_DEPTH_MAX) return false;
  gm_text word = name(in);
  if (is(word, "decimal")) return decimal(in, out);
  if (is(word, "struct")) return structure(in, out, depth + 1);
  if (is(word, "array")) return nested(in, out, depth + 1, GM_ARRAY, "element", NULL);
  if (is(word, "map")) return nested(in, out, depth + 1, GM_MAP, "key", "value");
  for (size_t i = 0; i < SCALAR_COUNT; i++) {
    if (is(word, SCALARS[i].json) || is(word, SCALARS[i].sql)) {
      *out = (gm_type){.kind = SCALARS[i].kind};
      return true;
    }
  }
  return false;
}

bool gm_type_parse(const char *text, gm_type *out, bool *nullable) {
  words in = {text};
  gm_field read;
  if (!field(&in, "", &read, 0)) return false;
  *out = read.type;
  *nullable = read.nullable;
  blanks(&in);
  return *in.at == 0;
}

bool gm_type_equal(const gm_type *left, const gm_type *right) {
  if (left->kind != right->kind || left->field_count != right->field_count) return false;
  if (left->precision != right->precision || left->scale != right->scale) return false;
  for (uint32_t i = 0; i < left->field_count; i++) {
    const gm_field *a = &left->fields[i], *b = &right->fields[i];
    if (!gm_type_equal(&a->type, &b->type)) return false;
    if (left->kind == GM_STRUCT && !gm_text_equal(a->name, b->name)) return false;
  }
  return true;
}

/* ---- as JSON ------------------------------------------------------------------------------- */

static bool flag(gm_json *json, const char *name) {
  gm_json *member = gm_json_member(json, name);
  return !member || member->kind != GM_JSON_BOOLEAN || member->boolean;
}

static bool type_of_json(gm_json *json, gm_type *out);

static bool child_of_json(gm_json *json, const char *member, const char *name, bool nullable, gm_field *out) {
  out->name = gm_text_of(name);
  out->nullable = nullable;
  return type_of_json(gm_json_member(json, member), &out->type);
}

static bool nested_of_json(gm_json *json, gm_type *out) {
  gm_json *kind = gm_json_member(json, "type"), *list = gm_json_member(json, "fields");
  if (!kind) return false;
  gm_field *fields = gm_allocate(2 * sizeof *fields);
  if (is(kind->text, "array")) {
    *out = (gm_type){.kind = GM_ARRAY, .field_count = 1, .fields = fields};
    return child_of_json(json, "elementType", "element", flag(json, "containsNull"), &fields[0]);
  }
  if (is(kind->text, "map")) {
    *out = (gm_type){.kind = GM_MAP, .field_count = 2, .fields = fields};
    return child_of_json(json, "keyType", "key", false, &fields[0]) &&
           child_of_json(json, "valueType", "value", flag(json, "valueContainsNull"), &fields[1]);
  }
  if (!is(kind->text, "struct") || !list) return false;
  gm_buffer members = {0};
  for (gm_json *member = list->first; member; member = member->next) {
    gm_field read;
    if (!gm_field_of_json(member, &read)) return false;
    gm_append(&members, &read, sizeof read);
  }
  *out = (gm_type){.kind = GM_STRUCT, .field_count = (uint32_t)(members.size / sizeof(gm_field)), .fields = (void *)members.data};
  return true;
}

static bool type_of_json(gm_json *json, gm_type *out) {
  if (!json) return false;
  if (json->kind == GM_JSON_OBJECT) return nested_of_json(json, out);
  if (json->kind != GM_JSON_TEXT) return false;
  char *text = gm_allocate(json->text.size + 1);
  memcpy(text, json->text.data, json->text.size);
  text[json->text.size] = 0;
  bool nullable;
  return gm_type_parse(text, out, &nullable);
}

bool gm_field_of_json(gm_json *json, gm_field *out) {
  gm_json *name = gm_json_member(json, "name");
  if (!name || name->kind != GM_JSON_TEXT) return false;
  out->name = name->text;
  out->nullable = flag(json, "nullable");
  return type_of_json(gm_json_member(json, "type"), &out->type);
}

static void flag_write(gm_buffer *out, const char *name, bool value) {
  gm_append_text(out, name);
  gm_append_text(out, value ? "true" : "false");
}

static void number_write(gm_buffer *out, uint8_t number) {
  if (number >= 10) gm_append(out, (char[]){(char)('0' + number / 10)}, 1);
  gm_append(out, (char[]){(char)('0' + number % 10)}, 1);
}

static void type_write(gm_buffer *out, const gm_type *type) {
  switch (type->kind) {
    case GM_STRUCT:
      gm_append_text(out, "{\"type\":\"struct\",\"fields\":[");
      for (uint32_t i = 0; i < type->field_count; i++) {
        if (i) gm_append_text(out, ",");
        gm_field_write(out, &type->fields[i]);
      }
      gm_append_text(out, "]}");
      return;
    case GM_ARRAY:
      gm_append_text(out, "{\"type\":\"array\",\"elementType\":");
      type_write(out, &type->fields[0].type);
      flag_write(out, ",\"containsNull\":", type->fields[0].nullable);
      gm_append_text(out, "}");
      return;
    case GM_MAP:
      gm_append_text(out, "{\"type\":\"map\",\"keyType\":");
      type_write(out, &type->fields[0].type);
      gm_append_text(out, ",\"valueType\":");
      type_write(out, &type->fields[1].type);
      flag_write(out, ",\"valueContainsNull\":", type->fields[1].nullable);
      gm_append_text(out, "}");
      return;
    case GM_DECIMAL:
      gm_append_text(out, "\"decimal(");
      number_write(out, type->precision);
      gm_append_text(out, ",");
      number_write(out, type->scale);
      gm_append_text(out, ")\"");
      return;
    default:
      for (size_t i = 0; i < SCALAR_COUNT; i++) {
        if (SCALARS[i].kind == type->kind) gm_json_write_text(out, gm_text_of(SCALARS[i].json));
      }
  }
}

void gm_field_write(gm_buffer *out, const gm_field *field) {
  gm_append_text(out, "{\"name\":");
  gm_json_write_text(out, field->name);
  gm_append_text(out, ",\"type\":");
  type_write(out, &field->type);
  flag_write(out, ",\"nullable\":", field->nullable);
  gm_append_text(out, "}");
}
