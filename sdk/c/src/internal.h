/* What the files of the SDK share; nothing here is for stages. */
#ifndef GRISTMILL_INTERNAL_H
#define GRISTMILL_INTERNAL_H

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "gristmill.h"

/* Deepest nesting of JSON and of types. */
#define GM_DEPTH_MAX 64
/* The longest reason of a failure, in bytes; the rest is cut. */
#define GM_REASON_BYTES_MAX 4096

/* ---- memory -------------------------------------------------------------------------------- */

/* Memory for what lives as long as the description. Never NULL: no memory traps. */
void *gm_allocate(size_t bytes);

/* Bytes that grow, and are reused. */
typedef struct gm_buffer {
  uint8_t *data;
  size_t size, capacity;
} gm_buffer;

/* Room for `bytes` more; answers where they begin. */
void *gm_grow(gm_buffer *buffer, size_t bytes);
void gm_append(gm_buffer *buffer, const void *data, size_t bytes);
void gm_append_text(gm_buffer *buffer, const char *text);
void gm_append_format(gm_buffer *buffer, const char *format, va_list arguments);

/* ---- JSON ---------------------------------------------------------------------------------- */

typedef enum { GM_JSON_NULL, GM_JSON_BOOLEAN, GM_JSON_NUMBER, GM_JSON_TEXT, GM_JSON_LIST, GM_JSON_OBJECT } gm_json_kind;

typedef struct gm_json {
  gm_json_kind kind;
  gm_text text;         /* a text, or the digits of a number */
  bool boolean;
  bool asked;           /* a member that somebody asked for */
  gm_text name;         /* of a member */
  struct gm_json *first, *next;
} gm_json;

/* NULL: it is no JSON. */
gm_json *gm_json_parse(gm_text text);
gm_json *gm_json_member(gm_json *object, const char *name);
void gm_json_write_text(gm_buffer *out, gm_text text);

/* ---- types --------------------------------------------------------------------------------- */

/* A field out of describe's JSON; false: it is none. */
bool gm_field_of_json(gm_json *json, gm_field *field);
/* A type as in SQL, with `not null`; false: it is none. */
bool gm_type_parse(const char *text, gm_type *type, bool *nullable);
bool gm_type_equal(const gm_type *left, const gm_type *right);
/* Bytes of one value, 0 if it has no fixed size (boolean, string, nested). */
uint32_t gm_value_size(gm_kind kind);
void gm_field_write(gm_buffer *out, const gm_field *field);

/* ---- columns and frames -------------------------------------------------------------------- */

struct gm_builder {
  const gm_type *type;
  uint32_t length, null_count;
  gm_buffer validity; /* empty until the first null */
  gm_buffer offsets, values;
  gm_builder *children;
};

void gm_builder_init(gm_builder *builder, const gm_type *type);
void gm_builder_clear(gm_builder *builder);
void gm_builder_truncate(gm_builder *builder, uint32_t length);
/* The column so far; `children` are kept in `column->children`, made anew at need. */
void gm_builder_view(gm_builder *builder, gm_column *column);

struct gm_output {
  uint32_t input_row_count, row; /* the input row at hand */
  uint32_t mark;                 /* output rows before it */
  bool rows_given, failed;
  gm_buffer rows, failure_rows, reason_offsets, reasons;
  uint32_t made_count;
  gm_builder *builders;
  gm_column *views;   /* of the builders */
  gm_column *columns; /* what is answered: a view, or what was given in its place */
};

uint32_t gm_output_row_count(const gm_output *output);

/* Reads a batch; answers NULL, or what is wrong with the frame. */
const char *gm_frame_read(const uint8_t *frame, size_t size, const gm_field *fields, uint32_t count, gm_batch *batch);
/* Writes the frame of an output over `out`; its buffers stay where they are. */
void gm_frame_write(gm_buffer *out, const gm_output *output, uint32_t row_count, bool with_rows);

/* ---- description --------------------------------------------------------------------------- */

struct gm_setup {
  gm_json *config;
  const gm_field *input;
  uint32_t input_count;
  gm_buffer reads, makes; /* of gm_field */
  gm_buffer drops;        /* of gm_text */
  const char *config_schema; /* NULL: made of the keys that were asked for */
  gm_buffer keys, required_keys; /* as JSON: members of a schema's `properties`, names in `required` */
  gm_buffer mistake; /* empty: none */
};

/* Answers the JSON of `describe` in `answer`; false: `answer` is what is wrong. */
bool gm_describe(gm_setup *setup, const gm_stage *stage, gm_text request, gm_buffer *answer);

#endif
