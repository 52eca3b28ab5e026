/* The exports of the module: the canonical lowering of stage.wit in the contract. One thread, one
 * call at a time; all memory is used again, so that it stays flat however many batches pass. */
#include <stdio.h>

#include "internal.h"

/* What the contract asks of an input's alignment, and the bytes that may be read behind it. */
enum { ALIGNMENT = 64, READ_AHEAD = 64 };

/* result<list<u8>, string>: a byte that is 0 for ok and 1 for err, address, length. */
typedef struct {
  uint32_t is_err;
  const void *data;
  size_t size;
} result;

static uint8_t *area; /* where the host writes its input */
static size_t area_capacity;
static gm_setup setup;
static bool described;
static gm_output output;
static gm_buffer answer;
static result returned;

static const result *give(bool is_err) {
  returned = (result){is_err, answer.data, answer.size};
  return &returned;
}

static const result *refuse(const char *why) {
  answer.size = 0;
  gm_append_text(&answer, why);
  return give(true);
}

__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
  if (align > ALIGNMENT || size > SIZE_MAX / 2) __builtin_trap();
  size_t needed = size + READ_AHEAD;
  if (needed > area_capacity) {
    size_t capacity = (needed + needed / 4 + 65535) / 65536 * 65536;
    uint8_t *grown = aligned_alloc(ALIGNMENT, capacity);
    if (!grown) __builtin_trap();
    if (old && old == area) memcpy(grown, area, old_size < size ? old_size : size);
    free(area);
    area = grown;
    area_capacity = capacity;
  }
  return area;
}

__attribute__((export_name("describe"))) const result *gm_export_describe(const char *request, size_t size) {
  described = gm_describe(&setup, &gm_this_stage, (gm_text){request, size}, &answer);
  if (!described) return give(true);
  const gm_field *makes = (const gm_field *)setup.makes.data;
  uint32_t count = (uint32_t)(setup.makes.size / sizeof *makes);
  output = (gm_output){.made_count = count,
                       .builders = gm_allocate(count * sizeof(gm_builder)),
                       .views = gm_allocate(count * sizeof(gm_column)),
                       .columns = gm_allocate(count * sizeof(gm_column))};
  memset(output.views, 0, count * sizeof(gm_column));
  for (uint32_t i = 0; i < count; i++) gm_builder_init(&output.builders[i], &makes[i].type);
  return give(false);
}

static void begin(uint32_t row_count) {
  output.input_row_count = row_count;
  output.rows_given = output.failed = false;
  output.rows.size = output.failure_rows.size = output.reason_offsets.size = output.reasons.size = 0;
  for (uint32_t i = 0; i < output.made_count; i++) {
    gm_builder_clear(&output.builders[i]);
    output.columns[i].type = NULL;
  }
}

/* Columns that were not given are those of the builders. */
static void end(void) {
  for (uint32_t i = 0; i < output.made_count; i++) {
    gm_builder_view(&output.builders[i], &output.views[i]);
    if (!output.columns[i].type) output.columns[i] = output.views[i];
  }
}

static void run_rows(const gm_batch *batch) {
  gm_keep_none(&output);
  for (uint32_t row = 0; row < batch->row_count; row++) {
    output.row = row;
    output.mark = (uint32_t)(output.rows.size / 4);
    output.failed = false;
    gm_this_stage.row(&(gm_row){batch->columns, row}, &output);
  }
  uint32_t rows = gm_output_row_count(&output);
  for (uint32_t i = 0; i < output.made_count; i++) {
    while (output.builders[i].length < rows) gm_push_null(&output.builders[i]);
  }
}

static bool every_row_once(void) {
  const uint32_t *rows = (const uint32_t *)output.rows.data;
  uint32_t count = gm_output_row_count(&output);
  if (!output.rows_given) return true;
  if (count != output.input_row_count || output.failure_rows.size) return false;
  for (uint32_t i = 0; i < count; i++) {
    if (rows[i] != i) return false;
  }
  return true;
}

/* NULL, or what is wrong with a column that the stage made. */
static const char *check(uint32_t rows) {
  static char why[256];
  const gm_field *makes = (const gm_field *)setup.makes.data;
  for (uint32_t i = 0; i < output.made_count; i++) {
    const gm_column *column = &output.columns[i];
    int size = makes[i].name.size > 64 ? 64 : (int)makes[i].name.size;
    if (column->length != rows) {
      snprintf(why, sizeof why, "the stage made %lu values of column `%.*s` for %lu rows",
               (unsigned long)column->length, size, makes[i].name.data, (unsigned long)rows);
      return why;
    }
    if (column->null_count && !makes[i].nullable) {
      snprintf(why, sizeof why, "the stage left column `%.*s` null, which is `not null`", size, makes[i].name.data);
      return why;
    }
  }
  return NULL;
}

__attribute__((export_name("process"))) const result *gm_export_process(const uint8_t *frame, size_t size) {
  if (!described) return refuse("process was called before describe");
  gm_batch batch;
  const gm_field *reads = (const gm_field *)setup.reads.data;
  uint32_t count = (uint32_t)(setup.reads.size / sizeof *reads);
  const char *mistake = gm_frame_read(frame, size, reads, count, &batch);
  if (mistake) return refuse(mistake);
  begin(batch.row_count);
  if (gm_this_stage.row) run_rows(&batch);
  else gm_this_stage.batch(&batch, &output);
  end();
  uint32_t rows = gm_output_row_count(&output);
  mistake = check(rows);
  if (mistake) return refuse(mistake);
  gm_frame_write(&answer, &output, rows, !every_row_once());
  return give(false);
}
