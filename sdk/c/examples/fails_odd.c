/* Failures: refuses rows with a reason; the pipeline decides what becomes of them. */
#include <gristmill.h>
#include <inttypes.h>

static int order_id;

static void describe(gm_setup *setup) { order_id = gm_read(setup, "order_id", "long"); }

static void row(const gm_row *row, gm_output *output) {
  int64_t id;
  if (!gm_get_long(row, order_id, &id)) {
    gm_fail(output, "no order_id");
  } else if (id % 2 != 0) {
    gm_fail(output, "order_id %" PRId64 " is odd", id);
  } else {
    gm_keep(output);
  }
}

GM_ROW_STAGE("fails_odd", "0.1.0", describe, row)
