// Write a Gristmill stage in C++17: gristmill.h with texts as std::string_view, nulls as
// std::optional, and a stage as a struct.
//
//   struct KeepCity {
//     std::string city;
//     gristmill::Column<std::string_view> column;
//
//     explicit KeepCity(gristmill::Setup &setup)
//         : city(setup.config<std::string_view>("city")), column(setup.read<std::string_view>("city")) {}
//
//     void row(gristmill::Row row, gristmill::Output output) {
//       if (column(row) == city) output.keep();
//     }
//   };
//   GRISTMILL_ROW_STAGE("keep_city", "0.1.0", KeepCity)
//
// A stage with `void batch(const gm_batch &, gristmill::Output)` is exported with
// GRISTMILL_COLUMN_STAGE. Nothing throws; build with -fno-exceptions.
#ifndef GRISTMILL_HPP
#define GRISTMILL_HPP

#include <cstdint>
#include <new>
#include <optional>
#include <string_view>
#include <type_traits>

#include "gristmill.h"

namespace gristmill {

inline gm_text text(std::string_view view) { return {view.data(), view.size()}; }
inline std::string_view view(gm_text text) { return {text.data, text.size}; }

/// Bytes, and the bytes of strings.
struct Bytes {
  std::string_view value;
};
struct Date {
  int32_t days; ///< since 1970-01-01
};
struct Timestamp {
  int64_t micros; ///< since 1970-01-01 in UTC
};

/// A row of a batch, or a struct within it.
using Row = gm_row;

/// Reads, puts and names the values of a C++ type; specialised for every type of a column.
template <typename T>
struct Value;

#define GRISTMILL_VALUE(type, sql, c_type, get_function, put_function, from_c, to_c)           \
  template <>                                                                                  \
  struct Value<type> {                                                                         \
    static constexpr const char *name = sql;                                                   \
    static std::optional<type> get(const Row &row, int column) {                               \
      c_type value;                                                                            \
      if (!get_function(&row, column, &value)) return std::nullopt;                            \
      return from_c;                                                                           \
    }                                                                                          \
    static void put(gm_output *output, int column, const type &value) {                        \
      put_function(output, column, to_c);                                                      \
    }                                                                                          \
  };

GRISTMILL_VALUE(bool, "boolean", bool, gm_get_boolean, gm_put_boolean, value, value)
GRISTMILL_VALUE(int32_t, "int", int32_t, gm_get_integer, gm_put_integer, value, value)
GRISTMILL_VALUE(int64_t, "long", int64_t, gm_get_long, gm_put_long, value, value)
GRISTMILL_VALUE(float, "float", float, gm_get_float, gm_put_float, value, value)
GRISTMILL_VALUE(double, "double", double, gm_get_double, gm_put_double, value, value)
GRISTMILL_VALUE(std::string_view, "string", gm_text, gm_get_text, gm_put_text, view(value), text(value))
GRISTMILL_VALUE(Bytes, "binary", gm_text, gm_get_text, gm_put_text, Bytes{view(value)}, text(value.value))
GRISTMILL_VALUE(Date, "date", int32_t, gm_get_integer, gm_put_integer, Date{value}, value.days)
GRISTMILL_VALUE(Timestamp, "timestamp", int64_t, gm_get_long, gm_put_long, Timestamp{value}, value.micros)
/// A decimal: the digits without the point. Its type has to be given where it is read and made.
GRISTMILL_VALUE(__int128, nullptr, __int128, gm_get_decimal, gm_put_decimal, value, value)
#undef GRISTMILL_VALUE

/// A column that is read, or a member of a struct.
template <typename T>
struct Column {
  int index = 0;
  /// nullopt: it is null.
  std::optional<T> operator()(const Row &row) const { return Value<T>::get(row, index); }
};

/// A column of structs.
struct Structs {
  int index = 0;
  /// Calls `each` with every struct of the array that is not null.
  template <typename Each>
  void operator()(const Row &row, Each each) const {
    gm_list list;
    Row item;
    if (!gm_get_list(&row, index, &list)) return;
    for (uint32_t i = list.begin; i < list.end; i++) {
      if (gm_list_struct(&list, i, &item)) each(item);
    }
  }
};

/// A column that is made.
template <typename T>
struct Made {
  int index = 0;
};

/// The output of a batch.
class Output {
public:
  explicit Output(gm_output *output) : raw(output) {}

  /// Rows: one more output row of the row at hand.
  void keep() const { gm_keep(raw); }
  /// Rows: the value in the row that was kept last; a column that gets none is null there.
  template <typename T, typename V>
  void put(Made<T> column, const V &value) const {
    Value<T>::put(raw, column.index, T(value));
  }
  template <typename T>
  void put(Made<T> column, const std::optional<T> &value) const {
    if (value) Value<T>::put(raw, column.index, *value);
  }
  /// Rows: refuses the row at hand with a reason.
  void fail(const char *reason) const { gm_fail(raw, "%s", reason); }
  /// The same by printf's format.
  template <typename First, typename... Rest>
  void fail(const char *format, First first, Rest... rest) const {
    gm_fail(raw, format, first, rest...);
  }
  /// Columns: one more output row of any input row.
  void keep_row(uint32_t row) const { gm_keep_row(raw, row); }
  void keep_none() const { gm_keep_none(raw); }
  /// Columns: the builder of a made column.
  template <typename T>
  gm_builder *made(Made<T> column) const {
    return gm_made(raw, column.index);
  }

  gm_output *raw;
};

/// What a stage's constructor asks and answers.
class Setup {
public:
  explicit Setup(gm_setup *setup) : raw(setup) {}

  /// A key of the configuration that must be there: std::string_view, int64_t or double.
  template <typename T>
  T config(const char *key) {
    if constexpr (std::is_same_v<T, std::string_view>) return view(gm_config_text(raw, key));
    else if constexpr (std::is_same_v<T, int64_t>) return gm_config_long(raw, key);
    else return static_cast<T>(gm_config_double(raw, key));
  }
  /// Reads a column; of a decimal the type has to be given.
  template <typename T>
  Column<T> read(const char *column, const char *type = Value<T>::name) {
    return {gm_read(raw, column, type)};
  }
  /// Reads an array of structs, of the type given.
  Structs read_structs(const char *column, const char *type) { return {gm_read(raw, column, type)}; }
  /// Makes a column; with a type given it may be `not null`.
  template <typename T>
  Made<T> make(const char *column, const char *type = Value<T>::name) {
    return {gm_make(raw, column, type)};
  }
  void drop(const char *column) { gm_drop(raw, column); }

  gm_setup *raw;
};

/// The one stage of the module, in memory of its own: it is made by `describe`.
template <typename Stage>
struct Instance {
  alignas(Stage) static inline unsigned char memory[sizeof(Stage)];
  static Stage &stage() { return *reinterpret_cast<Stage *>(memory); }
  static void describe(gm_setup *raw) {
    Setup setup(raw);
    new (memory) Stage(setup);
  }
  static void row(const gm_row *row, gm_output *output) { stage().row(*row, Output(output)); }
  static void batch(const gm_batch *batch, gm_output *output) { stage().batch(*batch, Output(output)); }
};

} // namespace gristmill

#define GRISTMILL_ROW_STAGE(name, version, Stage)                                                 \
  extern "C" const gm_stage gm_this_stage = {name, version, gristmill::Instance<Stage>::describe, \
                                             gristmill::Instance<Stage>::row, nullptr};
#define GRISTMILL_COLUMN_STAGE(name, version, Stage)                                              \
  extern "C" const gm_stage gm_this_stage = {name, version, gristmill::Instance<Stage>::describe, \
                                             nullptr, gristmill::Instance<Stage>::batch};

#endif
