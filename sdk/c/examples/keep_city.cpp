// A filter: keeps the rows whose city is the one of the configuration.
#include <gristmill.hpp>

struct KeepCity {
  std::string_view wanted;
  gristmill::Column<std::string_view> city;

  explicit KeepCity(gristmill::Setup &setup)
      : wanted(setup.config<std::string_view>("city")), city(setup.read<std::string_view>("city")) {}

  void row(gristmill::Row row, gristmill::Output output) {
    if (city(row) == wanted) output.keep();
  }
};

GRISTMILL_ROW_STAGE("keep_city", "0.1.0", KeepCity)
