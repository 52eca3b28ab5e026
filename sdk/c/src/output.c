/* The output of one batch. */
#include "internal.h"

__attribute__((noinline, noreturn)) static void gm_value_was_put_twice_or_before_gm_keep(void) { __builtin_trap(); }

uint32_t gm_output_row_count(const gm_output *output) {
  return output->rows_given ? (uint32_t)(output->rows.size / 4) : output->input_row_count;
}

/* ---- rows ---------------------------------------------------------------------------------- */

void gm_keep_none(gm_output *output) { output->rows_given = true; }

void gm_keep_row(gm_output *output, uint32_t row) {
  output->rows_given = true;
  gm_append(&output->rows, &row, 4);
}

void gm_keep(gm_output *output) {
  if (!output->failed) gm_keep_row(output, output->row);
}

static void fail(gm_output *output, uint32_t row, const char *format, va_list arguments) {
  gm_append(&output->failure_rows, &row, 4);
  if (!output->reason_offsets.size) gm_append(&output->reason_offsets, &(uint32_t){0}, 4);
  gm_append_format(&output->reasons, format, arguments);
  gm_append(&output->reason_offsets, &(uint32_t){(uint32_t)output->reasons.size}, 4);
}

void gm_fail_row(gm_output *output, uint32_t row, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fail(output, row, format, arguments);
  va_end(arguments);
}

void gm_fail(gm_output *output, const char *format, ...) {
  if (output->failed) return;
  va_list arguments;
  va_start(arguments, format);
  fail(output, output->row, format, arguments);
  va_end(arguments);
  output->failed = true;
  output->rows.size = 4 * (size_t)output->mark;
  for (uint32_t i = 0; i < output->made_count; i++) gm_builder_truncate(&output->builders[i], output->mark);
}

/* ---- values -------------------------------------------------------------------------------- */

gm_builder *gm_made(gm_output *output, int column) {
  if (column < 0 || (uint32_t)column >= output->made_count) __builtin_trap();
  return &output->builders[column];
}

/* The builder at the row that was kept last; rows before it that got no value are null. NULL: the
 * row failed, what is put is of no interest. */
static gm_builder *at_row(gm_output *output, int column) {
  if (output->failed) return NULL;
  gm_builder *builder = gm_made(output, column);
  uint32_t rows = (uint32_t)(output->rows.size / 4);
  if (builder->length >= rows) gm_value_was_put_twice_or_before_gm_keep();
  while (builder->length < rows - 1) gm_push_null(builder);
  return builder;
}

#define PUT(function, push, c_type)                                \
  void function(gm_output *output, int column, c_type value) {     \
    gm_builder *builder = at_row(output, column);                  \
    if (builder) push(builder, value);                             \
  }

PUT(gm_put_boolean, gm_push_boolean, bool)
PUT(gm_put_integer, gm_push_integer, int32_t)
PUT(gm_put_long, gm_push_long, int64_t)
PUT(gm_put_float, gm_push_float, float)
PUT(gm_put_double, gm_push_double, double)
PUT(gm_put_decimal, gm_push_decimal, __int128)
PUT(gm_put_text, gm_push_text, gm_text)

void gm_put_format(gm_output *output, int column, const char *format, ...) {
  gm_builder *builder = at_row(output, column);
  if (!builder) return;
  static gm_buffer text;
  text.size = 0;
  va_list arguments;
  va_start(arguments, format);
  gm_append_format(&text, format, arguments);
  va_end(arguments);
  gm_push_text(builder, (gm_text){(const char *)text.data, text.size});
}

void gm_put_copy(gm_output *output, int column, const gm_row *row, int from) {
  gm_builder *builder = at_row(output, column);
  if (builder) gm_push_copy(builder, &row->columns[from], row->index);
}

void gm_give(gm_output *output, int column, const gm_column *view) {
  if (column < 0 || (uint32_t)column >= output->made_count) __builtin_trap();
  if (view->type->kind != output->builders[column].type->kind) __builtin_trap();
  output->columns[column] = *view;
}
