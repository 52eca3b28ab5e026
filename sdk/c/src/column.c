/* Values out of columns. */
#include "internal.h"

/* The name of the function that traps is what the author of the stage gets to see. */
__attribute__((noinline, noreturn)) static void gm_column_is_of_another_type(void) { __builtin_trap(); }

static const void *values(const gm_column *column, gm_kind kind, gm_kind or_kind) {
  if (column->type->kind != kind && column->type->kind != or_kind) gm_column_is_of_another_type();
  return column->values;
}

const int32_t *gm_integers(const gm_column *column) { return values(column, GM_INTEGER, GM_DATE); }
const int64_t *gm_longs(const gm_column *column) { return values(column, GM_LONG, GM_TIMESTAMP); }
const float *gm_floats(const gm_column *column) { return values(column, GM_FLOAT, GM_FLOAT); }
const double *gm_doubles(const gm_column *column) { return values(column, GM_DOUBLE, GM_DOUBLE); }

bool gm_boolean_at(const gm_column *column, uint32_t index) {
  const uint8_t *bits = values(column, GM_BOOLEAN, GM_BOOLEAN);
  return bits[index >> 3] >> (index & 7) & 1;
}

__int128 gm_decimal_at(const gm_column *column, uint32_t index) {
  __int128 value;
  memcpy(&value, (const char *)values(column, GM_DECIMAL, GM_DECIMAL) + 16 * (size_t)index, 16);
  return value;
}

gm_text gm_text_at(const gm_column *column, uint32_t index) {
  const char *bytes = values(column, GM_STRING, GM_BINARY);
  const int32_t *offsets = column->offsets + index;
  return (gm_text){bytes + offsets[0], (size_t)(offsets[1] - offsets[0])};
}

#define GETTER(function, c_type, expression)                      \
  bool function(const gm_row *row, int column, c_type *value) {   \
    const gm_column *from = &row->columns[column];                \
    uint32_t index = row->index;                                  \
    if (gm_is_null(from, index)) return false;                    \
    *value = expression;                                          \
    return true;                                                  \
  }

GETTER(gm_get_boolean, bool, gm_boolean_at(from, index))
GETTER(gm_get_integer, int32_t, gm_integers(from)[index])
GETTER(gm_get_long, int64_t, gm_longs(from)[index])
GETTER(gm_get_float, float, gm_floats(from)[index])
GETTER(gm_get_double, double, gm_doubles(from)[index])
GETTER(gm_get_decimal, __int128, gm_decimal_at(from, index))
GETTER(gm_get_text, gm_text, gm_text_at(from, index))

bool gm_get_struct(const gm_row *row, int column, gm_row *value) {
  const gm_column *from = &row->columns[column];
  if (from->type->kind != GM_STRUCT) gm_column_is_of_another_type();
  if (gm_is_null(from, row->index)) return false;
  *value = (gm_row){from->children, row->index};
  return true;
}

bool gm_get_list(const gm_row *row, int column, gm_list *value) {
  const gm_column *from = &row->columns[column];
  bool map = from->type->kind == GM_MAP;
  if (!map && from->type->kind != GM_ARRAY) gm_column_is_of_another_type();
  if (gm_is_null(from, row->index)) return false;
  *value = (gm_list){
      .elements = &from->children[map],
      .keys = map ? &from->children[0] : NULL,
      .begin = (uint32_t)from->offsets[row->index],
      .end = (uint32_t)from->offsets[row->index + 1],
  };
  return true;
}

bool gm_list_struct(const gm_list *list, uint32_t index, gm_row *value) {
  return gm_get_struct(&(gm_row){list->elements, index}, 0, value);
}
