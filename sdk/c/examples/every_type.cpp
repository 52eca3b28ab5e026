// Reads all columns, whatever they are, and makes them anew, value by value: what has no type in C++ goes through
// gristmill.h.
#include <gristmill.hpp>

struct EveryType {
  uint32_t count;

  explicit EveryType(gristmill::Setup &setup) {
    const gm_field *input = gm_input(setup.raw, &count);
    gm_read_all(setup.raw);
    for (uint32_t i = 0; i < count; i++) gm_make_field(setup.raw, &input[i]);
  }

  void row(gristmill::Row row, gristmill::Output output) {
    output.keep();
    for (uint32_t i = 0; i < count; i++) gm_put_copy(output.raw, static_cast<int>(i), &row, static_cast<int>(i));
  }
};

GRISTMILL_ROW_STAGE("every_type", "0.1.0", EveryType)
