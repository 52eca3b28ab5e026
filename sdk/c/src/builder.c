/* Columns that grow. */
#include "internal.h"

__attribute__((noinline, noreturn)) static void gm_column_is_made_of_another_type(void) { __builtin_trap(); }

__attribute__((noinline, noreturn)) static void gm_struct_or_map_is_not_whole(void) { __builtin_trap(); }

static bool has_offsets(gm_kind kind) {
  return kind == GM_STRING || kind == GM_BINARY || kind == GM_ARRAY || kind == GM_MAP;
}

static void reset(gm_builder *builder) {
  builder->length = builder->null_count = 0;
  builder->validity.size = builder->offsets.size = builder->values.size = 0;
  if (has_offsets(builder->type->kind)) gm_append(&builder->offsets, &(int32_t){0}, 4);
}

void gm_builder_init(gm_builder *builder, const gm_type *type) {
  uint32_t count = type->field_count;
  *builder = (gm_builder){.type = type, .children = count ? gm_allocate(count * sizeof *builder) : NULL};
  for (uint32_t i = 0; i < count; i++) gm_builder_init(&builder->children[i], &type->fields[i].type);
  reset(builder);
}

void gm_builder_clear(gm_builder *builder) {
  reset(builder);
  for (uint32_t i = 0; i < builder->type->field_count; i++) gm_builder_clear(&builder->children[i]);
}

/* ---- bits ---------------------------------------------------------------------------------- */

static void bit_push(gm_buffer *bits, uint32_t index, bool value) {
  if (index % 8 == 0) gm_append(bits, &(uint8_t){0}, 1);
  if (value) bits->data[index / 8] |= (uint8_t)(1 << index % 8);
}

static void bits_truncate(gm_buffer *bits, uint32_t length) {
  if (bits->size <= length / 8) return;
  bits->size = (length + 7) / 8;
  if (length % 8) bits->data[length / 8] &= (uint8_t)((1 << length % 8) - 1);
}

/* One more element. The bitmap begins with the first null. */
static void push_validity(gm_builder *builder, bool valid) {
  gm_buffer *bits = &builder->validity;
  if (!valid && builder->null_count++ == 0) {
    bits->size = 0;
    for (uint32_t i = 0; i < builder->length; i++) bit_push(bits, i, true);
  }
  if (builder->null_count) bit_push(bits, builder->length, valid);
  builder->length++;
}

/* ---- values -------------------------------------------------------------------------------- */

static void expect(const gm_builder *builder, gm_kind kind, gm_kind or_kind) {
  if (builder->type->kind != kind && builder->type->kind != or_kind) gm_column_is_made_of_another_type();
}

static void push_offset(gm_builder *builder, uint32_t end) {
  if (end > INT32_MAX) __builtin_trap();
  gm_append(&builder->offsets, &end, 4);
}

void gm_push_null(gm_builder *builder) {
  gm_kind kind = builder->type->kind;
  uint32_t size = gm_value_size(kind), index = builder->length;
  push_validity(builder, false);
  if (kind == GM_BOOLEAN) bit_push(&builder->values, index, false);
  if (size) memset(gm_grow(&builder->values, size), 0, size);
  if (has_offsets(kind)) gm_append(&builder->offsets, builder->offsets.data + builder->offsets.size - 4, 4);
  if (kind == GM_STRUCT) {
    for (uint32_t i = 0; i < builder->type->field_count; i++) gm_push_null(&builder->children[i]);
  }
}

void gm_push_boolean(gm_builder *builder, bool value) {
  expect(builder, GM_BOOLEAN, GM_BOOLEAN);
  bit_push(&builder->values, builder->length, value);
  push_validity(builder, true);
}

#define PUSH(function, c_type, kind, or_kind)           \
  void function(gm_builder *builder, c_type value) {    \
    expect(builder, kind, or_kind);                     \
    gm_append(&builder->values, &value, sizeof value);  \
    push_validity(builder, true);                       \
  }

PUSH(gm_push_integer, int32_t, GM_INTEGER, GM_DATE)
PUSH(gm_push_long, int64_t, GM_LONG, GM_TIMESTAMP)
PUSH(gm_push_float, float, GM_FLOAT, GM_FLOAT)
PUSH(gm_push_double, double, GM_DOUBLE, GM_DOUBLE)
PUSH(gm_push_decimal, __int128, GM_DECIMAL, GM_DECIMAL)

void gm_push_text(gm_builder *builder, gm_text value) {
  expect(builder, GM_STRING, GM_BINARY);
  gm_append(&builder->values, value.data, value.size);
  push_offset(builder, (uint32_t)builder->values.size);
  push_validity(builder, true);
}

gm_builder *gm_child(gm_builder *builder, int child) {
  if (child < 0 || (uint32_t)child >= builder->type->field_count) gm_column_is_made_of_another_type();
  return &builder->children[child];
}

void gm_push_struct(gm_builder *builder) {
  expect(builder, GM_STRUCT, GM_STRUCT);
  push_validity(builder, true);
  for (uint32_t i = 0; i < builder->type->field_count; i++) {
    if (builder->children[i].length != builder->length) gm_struct_or_map_is_not_whole();
  }
}

void gm_push_list(gm_builder *builder) {
  expect(builder, GM_ARRAY, GM_MAP);
  uint32_t end = builder->children[0].length;
  if (builder->type->kind == GM_MAP && builder->children[1].length != end) gm_struct_or_map_is_not_whole();
  push_offset(builder, end);
  push_validity(builder, true);
}

void gm_push_copy(gm_builder *builder, const gm_column *from, uint32_t index) {
  gm_kind kind = builder->type->kind;
  expect(builder, from->type->kind, from->type->kind);
  if (gm_is_null(from, index)) {
    gm_push_null(builder);
    return;
  }
  uint32_t size = gm_value_size(kind);
  if (kind == GM_BOOLEAN) {
    gm_push_boolean(builder, gm_boolean_at(from, index));
  } else if (size) {
    gm_append(&builder->values, (const uint8_t *)from->values + (size_t)size * index, size);
    push_validity(builder, true);
  } else if (kind == GM_STRING || kind == GM_BINARY) {
    gm_push_text(builder, gm_text_at(from, index));
  } else {
    bool list = kind != GM_STRUCT;
    int32_t begin = list ? from->offsets[index] : (int32_t)index, end = list ? from->offsets[index + 1] : begin + 1;
    for (uint32_t child = 0; child < builder->type->field_count; child++) {
      for (int32_t i = begin; i < end; i++) gm_push_copy(&builder->children[child], &from->children[child], (uint32_t)i);
    }
    if (list) gm_push_list(builder);
    else gm_push_struct(builder);
  }
}

/* ---- taking back, lending ------------------------------------------------------------------ */

static void truncate_values(gm_builder *builder, uint32_t length) {
  gm_kind kind = builder->type->kind;
  uint32_t end = length;
  if (has_offsets(kind)) {
    builder->offsets.size = 4 * ((size_t)length + 1);
    memcpy(&end, builder->offsets.data + 4 * (size_t)length, 4);
  }
  if (kind == GM_BOOLEAN) bits_truncate(&builder->values, length);
  else if (kind == GM_STRING || kind == GM_BINARY) builder->values.size = end;
  else builder->values.size = (size_t)gm_value_size(kind) * length;
  /* Children may be ahead of an element that was never closed. */
  for (uint32_t i = 0; i < builder->type->field_count; i++) gm_builder_truncate(&builder->children[i], end);
}

void gm_builder_truncate(gm_builder *builder, uint32_t length) {
  if (builder->length < length) return;
  if (builder->null_count) {
    for (uint32_t i = length; i < builder->length; i++) {
      builder->null_count -= !(builder->validity.data[i / 8] >> i % 8 & 1);
    }
    bits_truncate(&builder->validity, length);
  }
  builder->length = length;
  truncate_values(builder, length);
}

void gm_builder_view(gm_builder *builder, gm_column *column) {
  uint32_t count = builder->type->field_count;
  gm_column *children = (gm_column *)column->children;
  if (count && !children) {
    children = gm_allocate(count * sizeof *children);
    memset(children, 0, count * sizeof *children);
  }
  for (uint32_t i = 0; i < count; i++) gm_builder_view(&builder->children[i], &children[i]);
  *column = (gm_column){
      .type = builder->type,
      .length = builder->length,
      .null_count = builder->null_count,
      .validity = builder->null_count ? builder->validity.data : NULL,
      .offsets = (const int32_t *)builder->offsets.data,
      .values = builder->values.data,
      .children = children,
  };
}
