// A stage that leaks: it remembers every row. This costs its instance now and then, and the host nothing.
#include <gristmill.hpp>

#include <cstdlib>

struct Leaks {
  gristmill::Column<std::string_view> city;

  explicit Leaks(gristmill::Setup &setup) : city(setup.read<std::string_view>("city")) {}

  void row(gristmill::Row row, gristmill::Output output) {
    auto *kept = static_cast<char *>(std::malloc(64));
    if (!kept) std::abort();
    *static_cast<volatile char *>(kept) = static_cast<char>(city(row).value_or("").size());
    output.keep();
  }
};

GRISTMILL_ROW_STAGE("leaks", "0.1.0", Leaks)
