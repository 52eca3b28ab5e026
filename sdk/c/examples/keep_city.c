/* A filter: keeps the rows whose `city` is the one of the configuration. */
#include <gristmill.h>

static gm_text wanted;
static int city;

static void describe(gm_setup *setup) {
  wanted = gm_config_text(setup, "city");
  city = gm_read(setup, "city", "string");
}

static void row(const gm_row *row, gm_output *output) {
  gm_text value;
  if (gm_get_text(row, city, &value) && gm_text_equal(value, wanted)) gm_keep(output);
}

GM_ROW_STAGE("keep_city", "0.1.0", describe, row)
