/* A stage that leaks: it keeps memory for every row. This costs its instance now and then, and the host nothing. */
#include <gristmill.h>
#include <stdlib.h>
#include <string.h>

static int city;

static void describe(gm_setup *setup) { city = gm_read(setup, "city", "string"); }

static void row(const gm_row *row, gm_output *output) {
  gm_text value;
  if (gm_get_text(row, city, &value)) {
    char *kept = malloc(value.size + 64);
    if (!kept) abort();
    memcpy(kept, value.data, value.size);
    *(volatile char *)kept = value.data[0];
  }
  gm_keep(output);
}

GM_ROW_STAGE("leaks", "0.1.0", describe, row)
