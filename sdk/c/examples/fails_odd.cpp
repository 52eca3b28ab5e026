// Failures: refuses rows with a reason; the pipeline decides what becomes of them.
#include <gristmill.hpp>

struct FailsOdd {
  gristmill::Column<int64_t> order_id;

  explicit FailsOdd(gristmill::Setup &setup) : order_id(setup.read<int64_t>("order_id")) {}

  void row(gristmill::Row row, gristmill::Output output) {
    auto id = order_id(row);
    if (!id) output.fail("no order_id");
    else if (*id % 2 != 0) output.fail("order_id %lld is odd", static_cast<long long>(*id));
    else output.keep();
  }
};

GRISTMILL_ROW_STAGE("fails_odd", "0.1.0", FailsOdd)
