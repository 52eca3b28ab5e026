// keep_city at the level of columns.
#include <gristmill.hpp>

struct KeepCity {
  std::string_view wanted;
  int city;

  explicit KeepCity(gristmill::Setup &setup)
      : wanted(setup.config<std::string_view>("city")),
        city(setup.read<std::string_view>("city").index) {}

  void batch(const gm_batch &batch, gristmill::Output output) {
    const gm_column &cities = batch.columns[city];
    output.keep_none();
    for (uint32_t row = 0; row < batch.row_count; row++) {
      bool there = !gm_is_null(&cities, row);
      if (there && gristmill::view(gm_text_at(&cities, row)) == wanted) output.keep_row(row);
    }
  }
};

GRISTMILL_COLUMN_STAGE("keep_city", "0.1.0", KeepCity)
