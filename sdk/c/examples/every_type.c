/* Reads all columns, whatever they are, and makes them anew, value by value. */
#include <gristmill.h>

static uint32_t count;

static void describe(gm_setup *setup) {
  const gm_field *input = gm_input(setup, &count);
  gm_read_all(setup);
  for (uint32_t i = 0; i < count; i++) gm_make_field(setup, &input[i]);
}

static void row(const gm_row *row, gm_output *output) {
  gm_keep(output);
  for (uint32_t i = 0; i < count; i++) gm_put_copy(output, (int)i, row, (int)i);
}

GM_ROW_STAGE("every_type", "0.1.0", describe, row)
