/* with_total at the level of columns. */
#include <gristmill.h>
#include <inttypes.h>
#include <stdio.h>

static gm_text currency;
static int order_id, price, quantity, total, label;

static void describe(gm_setup *setup) {
  currency = gm_config_text(setup, "currency");
  order_id = gm_read(setup, "order_id", "long");
  price = gm_read(setup, "price", "double");
  quantity = gm_read(setup, "quantity", "int");
  total = gm_make(setup, "total", "double");
  label = gm_make(setup, "label", "string not null");
}

static void make_totals(const gm_batch *batch, gm_builder *total) {
  const gm_column *prices = &batch->columns[price], *quantities = &batch->columns[quantity];
  const double *each = gm_doubles(prices);
  const int32_t *count = gm_integers(quantities);
  for (uint32_t row = 0; row < batch->row_count; row++) {
    if (gm_is_null(prices, row) || gm_is_null(quantities, row)) gm_push_null(total);
    else gm_push_double(total, each[row] * count[row]);
  }
}

static void make_labels(const gm_batch *batch, gm_builder *label) {
  const gm_column *ids = &batch->columns[order_id];
  const int64_t *id = gm_longs(ids);
  char text[128];
  for (uint32_t row = 0; row < batch->row_count; row++) {
    int size = gm_is_null(ids, row) ? snprintf(text, sizeof text, "order ?")
                                    : snprintf(text, sizeof text, "order %" PRId64 " in %.*s", id[row], (int)currency.size, currency.data);
    gm_push_text(label, (gm_text){text, (size_t)size < sizeof text ? (size_t)size : sizeof text - 1});
  }
}

static void batch(const gm_batch *batch, gm_output *output) {
  make_totals(batch, gm_made(output, total));
  make_labels(batch, gm_made(output, label));
}

GM_COLUMN_STAGE("with_total", "0.1.0", describe, batch)
