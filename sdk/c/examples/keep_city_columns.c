/* keep_city at the level of columns. */
#include <gristmill.h>
#include <string.h>

static gm_text wanted;

static void describe(gm_setup *setup) {
  wanted = gm_config_text(setup, "city");
  gm_read(setup, "city", "string");
}

static void batch(const gm_batch *batch, gm_output *output) {
  const gm_column *city = &batch->columns[0];
  gm_keep_none(output);
  for (uint32_t row = 0; row < batch->row_count; row++) {
    if (!gm_is_null(city, row) && gm_text_equal(gm_text_at(city, row), wanted)) {
      gm_keep_row(output, row);
    }
  }
}

GM_COLUMN_STAGE("keep_city", "0.1.0", describe, batch)
