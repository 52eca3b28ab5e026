/* Write a Gristmill stage in C: a transformation of rows that runs as a WebAssembly module inside a
 * pipeline. Two levels:
 *
 * - rows, for comfort: one function over one row, exported with GM_ROW_STAGE;
 * - columns, for speed: one function over a batch of columns, exported with GM_COLUMN_STAGE.
 *
 * Both begin with a function that describes the stage: it asks for the configuration and says which
 * columns are read and made. Columns that a stage does not make are carried by the host and never
 * cross the boundary. A stage keeps no state from batch to batch: a batch may be replayed.
 *
 * Types are written as in SQL: boolean, int, long, float, double, decimal(10,2), string, binary,
 * date, timestamp, array<T>, map<K,V>, struct<name T, …>; with `not null` behind it a column,
 * member or element is never null.
 *
 * A mistake of the author, such as reading a string as a long, traps: the host names the function.
 */
#ifndef GRISTMILL_H
#define GRISTMILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A text (UTF-8) or bytes; not ended by a zero. Those of a row are valid until the function over
 * that row or batch returns, those of a configuration for as long as the module lives. */
typedef struct gm_text {
  const char *data;
  size_t size;
} gm_text;

gm_text gm_text_of(const char *text);
bool gm_text_equal(gm_text left, gm_text right);

/* ---- types ------------------------------------------------------------------------------- */

typedef enum gm_kind {
  GM_BOOLEAN,
  GM_INTEGER, /* 32 bits */
  GM_LONG,    /* 64 bits */
  GM_FLOAT,
  GM_DOUBLE,
  GM_DATE,      /* an integer: days since 1970-01-01 */
  GM_TIMESTAMP, /* a long: microseconds since 1970-01-01 in UTC */
  GM_DECIMAL,   /* 128 bits: the digits without the point, 1.50 of decimal(10,2) is 150 */
  GM_STRING,
  GM_BINARY,
  GM_STRUCT,
  GM_ARRAY,
  GM_MAP
} gm_kind;

typedef struct gm_type {
  gm_kind kind;
  uint8_t precision, scale; /* of a decimal */
  uint32_t field_count;
  /* The members of a struct, the element of an array, key and value of a map. */
  const struct gm_field *fields;
} gm_type;

typedef struct gm_field {
  gm_text name;
  gm_type type;
  bool nullable;
} gm_field;

/* ---- describing the stage ----------------------------------------------------------------- */

/* What the describing function asks and answers. After the first mistake (a missing key, an unknown
 * column) every call answers an empty value; the mistake goes to the author of the pipeline. */
typedef struct gm_setup gm_setup;

/* A key of the stage's configuration. It must be there, unless there is a fallback. Keys that the
 * describing function did not ask for are refused. */
gm_text gm_config_text(gm_setup *setup, const char *key);
gm_text gm_config_text_or(gm_setup *setup, const char *key, const char *fallback);
int64_t gm_config_long(gm_setup *setup, const char *key);
int64_t gm_config_long_or(gm_setup *setup, const char *key, int64_t fallback);
double gm_config_double(gm_setup *setup, const char *key);
double gm_config_double_or(gm_setup *setup, const char *key, double fallback);
bool gm_config_boolean_or(gm_setup *setup, const char *key, bool fallback);

/* Reads an input column, which must be of this type (NULL: of any). Answers its index among the
 * columns that are read. */
int gm_read(gm_setup *setup, const char *column, const char *type);
/* Reads every input column, in order; answers how many there are. */
int gm_read_all(gm_setup *setup);

/* Makes a column; one named as an input column replaces it. Answers its index among those made. */
int gm_make(gm_setup *setup, const char *column, const char *type);
int gm_make_field(gm_setup *setup, const gm_field *field);
/* Ends an input column at this stage. */
void gm_drop(gm_setup *setup, const char *column);

/* The input's columns. */
const gm_field *gm_input(const gm_setup *setup, uint32_t *count);
/* Refuses the configuration or the input. `key` is the key of the configuration that is to blame,
 * or NULL. The format is that of printf; one line, lower case, no full stop. */
void gm_refuse(gm_setup *setup, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* JSON Schema of the configuration, for editors, in place of one made of the keys that were asked for. */
void gm_config_schema(gm_setup *setup, const char *json);

/* ---- columns that are read ---------------------------------------------------------------- */

/* One column of a batch. Which buffers there are depends on the type (frame.md in the contract). */
typedef struct gm_column {
  const gm_type *type;
  uint32_t length, null_count;
  const uint8_t *validity; /* bits, least significant first, 1 = not null; NULL: nothing is null */
  const int32_t *offsets;  /* length + 1 of a string, binary, array or map */
  const void *values;
  const struct gm_column *children; /* members, element, or key and value */
} gm_column;

typedef struct gm_batch {
  uint32_t row_count;
  const gm_column *columns; /* in the order of gm_read */
} gm_batch;

static inline bool gm_is_null(const gm_column *column, uint32_t index) {
  return column->validity && !(column->validity[index >> 3] >> (index & 7) & 1);
}
/* Values of a column of this type; those of null elements are any. Trap if it is of another. */
const int32_t *gm_integers(const gm_column *column); /* also the days of dates */
const int64_t *gm_longs(const gm_column *column);    /* also the microseconds of timestamps */
const float *gm_floats(const gm_column *column);
const double *gm_doubles(const gm_column *column);
bool gm_boolean_at(const gm_column *column, uint32_t index);
__int128 gm_decimal_at(const gm_column *column, uint32_t index);
gm_text gm_text_at(const gm_column *column, uint32_t index); /* of a string or binary */

/* One row of a batch, or one struct: columns[0] is its first column or member. */
typedef struct gm_row {
  const gm_column *columns;
  uint32_t index;
} gm_row;

/* The elements of an array, from `begin` to before `end`; of a map, keys and values. */
typedef struct gm_list {
  const gm_column *elements, *keys;
  uint32_t begin, end;
} gm_list;

/* The value of a column of a row; false: it is null, and `value` is left alone. */
bool gm_get_boolean(const gm_row *row, int column, bool *value);
bool gm_get_integer(const gm_row *row, int column, int32_t *value);
bool gm_get_long(const gm_row *row, int column, int64_t *value);
bool gm_get_float(const gm_row *row, int column, float *value);
bool gm_get_double(const gm_row *row, int column, double *value);
bool gm_get_decimal(const gm_row *row, int column, __int128 *value);
bool gm_get_text(const gm_row *row, int column, gm_text *value);
bool gm_get_struct(const gm_row *row, int column, gm_row *value);
bool gm_get_list(const gm_row *row, int column, gm_list *value);
/* An element of a list of structs; false: it is null. */
bool gm_list_struct(const gm_list *list, uint32_t index, gm_row *value);

/* ---- the output ---------------------------------------------------------------------------- */

typedef struct gm_output gm_output;

/* Rows: one more output row out of this input row. A row that is not kept is dropped; one that is
 * kept several times becomes several rows. */
void gm_keep(gm_output *output);
/* Rows: refuses this input row with a reason; what was kept of it is taken back. */
void gm_fail(gm_output *output, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Columns: the same for any input row. A stage that keeps no row by number keeps all in place. */
void gm_keep_row(gm_output *output, uint32_t row);
/* A batch out of which no row is kept. */
void gm_keep_none(gm_output *output);
/* Rows are refused in ascending order, each once, and none of them is kept. */
void gm_fail_row(gm_output *output, uint32_t row, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Rows: the value of a made column in the row that was kept last. A column that gets none is null
 * there. */
void gm_put_boolean(gm_output *output, int column, bool value);
void gm_put_integer(gm_output *output, int column, int32_t value); /* also the days of a date */
void gm_put_long(gm_output *output, int column, int64_t value);    /* also of a timestamp */
void gm_put_float(gm_output *output, int column, float value);
void gm_put_double(gm_output *output, int column, double value);
void gm_put_decimal(gm_output *output, int column, __int128 value);
void gm_put_text(gm_output *output, int column, gm_text value);
/* A text by printf's format. */
void gm_put_format(gm_output *output, int column, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The value of a column that is read, which is of the same type. */
void gm_put_copy(gm_output *output, int column, const gm_row *row, int from);

/* A column that grows, with memory that is kept from batch to batch. */
typedef struct gm_builder gm_builder;

/* The builder of a made column. Rows: push one value for the row that was kept last. Columns: push
 * one value per output row. */
gm_builder *gm_made(gm_output *output, int column);
/* A member of a struct, the element of an array (0), key (0) and value (1) of a map. */
gm_builder *gm_child(gm_builder *builder, int child);
void gm_push_null(gm_builder *builder);
void gm_push_boolean(gm_builder *builder, bool value);
void gm_push_integer(gm_builder *builder, int32_t value);
void gm_push_long(gm_builder *builder, int64_t value);
void gm_push_float(gm_builder *builder, float value);
void gm_push_double(gm_builder *builder, double value);
void gm_push_decimal(gm_builder *builder, __int128 value);
void gm_push_text(gm_builder *builder, gm_text value);
/* Closes a struct; every member was pushed once since the last. */
void gm_push_struct(gm_builder *builder);
/* Closes an array or map: it holds what was pushed into the children since the last. */
void gm_push_list(gm_builder *builder);
void gm_push_copy(gm_builder *builder, const gm_column *from, uint32_t index);

/* Columns: gives a column that lies anywhere, such as one of the input, without a copy. */
void gm_give(gm_output *output, int column, const gm_column *view);

/* ---- export -------------------------------------------------------------------------------- */

typedef struct gm_stage {
  const char *name, *version;
  void (*describe)(gm_setup *setup);
  void (*row)(const gm_row *row, gm_output *output);
  void (*batch)(const gm_batch *batch, gm_output *output);
} gm_stage;

/* The module's stage, once per module. */
extern const gm_stage gm_this_stage;

#define GM_ROW_STAGE(name, version, describe, row) \
  const gm_stage gm_this_stage = {name, version, describe, row, 0};
#define GM_COLUMN_STAGE(name, version, describe, batch) \
  const gm_stage gm_this_stage = {name, version, describe, 0, batch};

#ifdef __cplusplus
}
#endif
#endif
