/* A map: makes two columns and keeps every row. */
#include <gristmill.h>
#include <inttypes.h>

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

static void row(const gm_row *row, gm_output *output) {
  double each;
  int32_t count;
  int64_t id;
  gm_keep(output);
  if (gm_get_double(row, price, &each) && gm_get_integer(row, quantity, &count)) {
    gm_put_double(output, total, each * count);
  }
  if (gm_get_long(row, order_id, &id)) {
    gm_put_format(output, label, "order %" PRId64 " in %.*s", id, (int)currency.size, currency.data);
  } else {
    gm_put_text(output, label, gm_text_of("order ?"));
  }
}

GM_ROW_STAGE("with_total", "0.1.0", describe, row)
