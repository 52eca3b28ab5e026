// A flatten: one row per item.
#include <gristmill.hpp>

struct ExplodeItems {
  gristmill::Structs items;
  gristmill::Column<int64_t> id{0};
  gristmill::Column<std::string_view> name{1};
  gristmill::Made<int64_t> made_id;
  gristmill::Made<std::string_view> made_name;

  explicit ExplodeItems(gristmill::Setup &setup)
      : items(setup.read_structs("items", "array<struct<item_id long, name string>>")),
        made_id(setup.make<int64_t>("item_id")),
        made_name(setup.make<std::string_view>("name")) {
    setup.drop("items");
  }

  void row(gristmill::Row row, gristmill::Output output) {
    items(row, [&](gristmill::Row item) {
      output.keep();
      output.put(made_id, id(item));
      output.put(made_name, name(item));
    });
  }
};

GRISTMILL_ROW_STAGE("explode_items", "0.1.0", ExplodeItems)
