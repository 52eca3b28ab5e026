/* A flatten: one row per item. */
#include <gristmill.h>

static int items, item_id, name;

static void describe(gm_setup *setup) {
  items = gm_read(setup, "items", "array<struct<item_id long, name string>>");
  item_id = gm_make(setup, "item_id", "long");
  name = gm_make(setup, "name", "string");
  gm_drop(setup, "items");
}

static void row(const gm_row *row, gm_output *output) {
  gm_list list;
  gm_row item;
  if (!gm_get_list(row, items, &list)) return;
  for (uint32_t i = list.begin; i < list.end; i++) {
    if (!gm_list_struct(&list, i, &item)) continue;
    gm_keep(output);
    gm_put_copy(output, item_id, &item, 0);
    gm_put_copy(output, name, &item, 1);
  }
}

GM_ROW_STAGE("explode_items", "0.1.0", describe, row)
