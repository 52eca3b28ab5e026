/* Gives every column back without a copy. */
#include <gristmill.h>

static uint32_t count;

static void describe(gm_setup *setup) {
  const gm_field *input = gm_input(setup, &count);
  gm_read_all(setup);
  for (uint32_t i = 0; i < count; i++) gm_make_field(setup, &input[i]);
}

static void batch(const gm_batch *batch, gm_output *output) {
  for (uint32_t i = 0; i < count; i++) gm_give(output, (int)i, &batch->columns[i]);
}

GM_COLUMN_STAGE("every_type", "0.1.0", describe, batch)
