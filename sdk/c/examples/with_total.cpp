// A map: makes two columns and keeps every row.
#include <cstdio>
#include <gristmill.hpp>

struct WithTotal {
  std::string_view currency;
  gristmill::Column<int64_t> order_id;
  gristmill::Column<double> price;
  gristmill::Column<int32_t> quantity;
  gristmill::Made<double> total;
  gristmill::Made<std::string_view> label;

  explicit WithTotal(gristmill::Setup &setup)
      : currency(setup.config<std::string_view>("currency")),
        order_id(setup.read<int64_t>("order_id")),
        price(setup.read<double>("price")),
        quantity(setup.read<int32_t>("quantity")),
        total(setup.make<double>("total")),
        label(setup.make<std::string_view>("label", "string not null")) {}

  void row(gristmill::Row row, gristmill::Output output) {
    output.keep();
    auto each = price(row);
    auto count = quantity(row);
    if (each && count) output.put(total, *each * *count);
    if (auto id = order_id(row)) {
      gm_put_format(output.raw, label.index, "order %lld in %.*s", static_cast<long long>(*id),
                    static_cast<int>(currency.size()), currency.data());
    } else {
      output.put(label, "order ?");
    }
  }
};

GRISTMILL_ROW_STAGE("with_total", "0.1.0", WithTotal)
