/* Frames (frame.md in the contract): every number of an input is checked before it is used. */
#include "internal.h"

enum { HEADER_BYTES = 64, DESCRIPTOR_BYTES = 32, FLAG_ROWS = 1 };

typedef struct {
  const uint8_t *frame;
  uint32_t size, header, stride, count, next;
  gm_column *children; /* room for all nested columns of a batch */
  const char *mistake;
} reader;

static uint32_t word(const uint8_t *at) {
  uint32_t value;
  memcpy(&value, at, 4);
  return value;
}

/* The buffer whose offset and size stand at `at`, of at least `needed` bytes; NULL if it is absent. */
static const void *buffer(reader *in, const uint8_t *at, uint64_t needed, bool required) {
  uint32_t offset = word(at), size = word(at + 4);
  if (size == 0 && !(required && needed)) return NULL;
  if ((uint64_t)offset + size > in->size || size < needed) {
    in->mistake = "a buffer lies outside of the frame or is too short";
    return NULL;
  }
  return in->frame + offset;
}

static void check_offsets(reader *in, const gm_column *column, uint64_t end_max) {
  int32_t previous = 0;
  for (uint32_t i = 0; i <= column->length; i++) {
    if (column->offsets[i] < previous) in->mistake = "offsets descend";
    previous = column->offsets[i];
  }
  if ((uint64_t)previous > end_max) in->mistake = "offsets end outside of their values";
}

/* The next array of the frame, without its children. Answers the bytes of its values. */
static uint32_t array(reader *in, const gm_type *type, gm_column *out) {
  static const int32_t no_offsets[1] = {0};
  if (in->next >= in->count) {
    in->mistake = "arrays are missing";
    return 0;
  }
  const uint8_t *at = in->frame + in->header + (size_t)in->stride * in->next++;
  uint64_t length = word(at);
  gm_kind kind = type->kind;
  bool offsets = kind == GM_STRING || kind == GM_BINARY || kind == GM_ARRAY || kind == GM_MAP;
  *out = (gm_column){.type = type, .length = (uint32_t)length, .null_count = word(at + 4)};
  if (out->null_count) out->validity = buffer(in, at + 8, (length + 7) / 8, true);
  if (offsets) out->offsets = length ? buffer(in, at + 16, 4 * (length + 1), true) : no_offsets;
  uint64_t bytes = kind == GM_BOOLEAN ? (length + 7) / 8 : length * gm_value_size(kind);
  out->values = buffer(in, at + 24, bytes, true);
  return word(at + 28);
}

static void column(reader *in, const gm_type *type, uint32_t length, bool exactly, gm_column *out) {
  uint32_t bytes = array(in, type, out);
  if (in->mistake) return;
  if (exactly ? out->length != length : out->length < length) {
    in->mistake = "a column has another length than its parent asks for";
    return;
  }
  gm_column *children = in->children;
  in->children += type->field_count;
  out->children = children;
  uint32_t end = out->offsets ? (uint32_t)out->offsets[out->length] : 0;
  if (out->offsets) check_offsets(in, out, type->field_count ? UINT32_MAX : bytes);
  if (type->kind == GM_MAP && !in->mistake) {
    gm_column entries;
    array(in, &(gm_type){.kind = GM_STRUCT}, &entries);
    if (entries.length < end) in->mistake = "a map has fewer entries than its offsets ask for";
    end = entries.length;
  }
  for (uint32_t i = 0; i < type->field_count && !in->mistake; i++) {
    bool whole = type->kind != GM_ARRAY;
    uint32_t wanted = type->kind == GM_STRUCT ? out->length : end;
    column(in, &type->fields[i].type, wanted, whole, &children[i]);
  }
}

static uint32_t nested_count(const gm_type *type) {
  uint32_t count = type->field_count;
  for (uint32_t i = 0; i < type->field_count; i++) count += nested_count(&type->fields[i].type);
  return count;
}

static const char *header(reader *in, const uint8_t *frame, size_t size) {
  if (size < HEADER_BYTES || memcmp(frame, "GMF1", 4) != 0) return "no frame";
  *in = (reader){.frame = frame, .size = word(frame + 8), .header = frame[4] | frame[5] << 8,
                 .stride = frame[6] | frame[7] << 8, .count = word(frame + 16)};
  uint64_t table = (uint64_t)in->stride * in->count;
  if (in->size > size || in->header < HEADER_BYTES || in->stride < DESCRIPTOR_BYTES) return "a malformed header";
  return in->header + table > in->size ? "descriptors outside of the frame" : NULL;
}

const char *gm_frame_read(const uint8_t *frame, size_t size, const gm_field *fields, uint32_t count, gm_batch *batch) {
  static gm_buffer memory;
  reader in;
  const char *mistake = header(&in, frame, size);
  if (mistake) return mistake;
  uint32_t nested = 0;
  for (uint32_t i = 0; i < count; i++) nested += nested_count(&fields[i].type);
  memory.size = 0;
  gm_column *columns = gm_grow(&memory, (count + nested) * sizeof *columns);
  in.children = columns + count;
  uint32_t row_count = word(frame + 12);
  for (uint32_t i = 0; i < count && !in.mistake; i++) column(&in, &fields[i].type, row_count, true, &columns[i]);
  *batch = (gm_batch){.row_count = row_count, .columns = columns};
  return in.mistake;
}

/* ---- writing ------------------------------------------------------------------------------- */

static void put(gm_buffer *out, size_t at, uint32_t value) { memcpy(out->data + at, &value, 4); }

/* Where a buffer lies: its distance from the frame, modulo 2^32. */
static void place(gm_buffer *out, size_t at, const void *data, size_t bytes) {
  if (!bytes) return;
  put(out, at, (uint32_t)((uintptr_t)data - (uintptr_t)out->data));
  put(out, at + 4, (uint32_t)bytes);
}

static void column_write(gm_buffer *out, size_t *at, const gm_column *column) {
  gm_kind kind = column->type->kind;
  uint32_t length = column->length, size = gm_value_size(kind);
  size_t bits = ((size_t)length + 7) / 8, values = kind == GM_BOOLEAN ? bits : (size_t)size * length;
  if (kind == GM_STRING || kind == GM_BINARY) values = length ? (size_t)column->offsets[length] : 0;
  put(out, *at, length);
  put(out, *at + 4, column->null_count);
  if (column->null_count) place(out, *at + 8, column->validity, bits);
  if (column->offsets && length) place(out, *at + 16, column->offsets, 4 * ((size_t)length + 1));
  place(out, *at + 24, column->values, values);
  *at += DESCRIPTOR_BYTES;
  if (kind == GM_MAP) {
    put(out, *at, column->children[0].length);
    *at += DESCRIPTOR_BYTES;
  }
  for (uint32_t i = 0; i < column->type->field_count; i++) column_write(out, at, &column->children[i]);
}

static uint32_t array_count(const gm_type *type) {
  uint32_t count = 1 + (type->kind == GM_MAP);
  for (uint32_t i = 0; i < type->field_count; i++) count += array_count(&type->fields[i].type);
  return count;
}

void gm_frame_write(gm_buffer *out, const gm_output *output, uint32_t row_count, bool with_rows) {
  uint32_t arrays = 0;
  for (uint32_t i = 0; i < output->made_count; i++) arrays += array_count(output->builders[i].type);
  size_t size = HEADER_BYTES + (size_t)DESCRIPTOR_BYTES * arrays;
  out->size = 0;
  memset(gm_grow(out, size), 0, size);
  memcpy(out->data, "GMF1", 4);
  put(out, 4, HEADER_BYTES | DESCRIPTOR_BYTES << 16);
  put(out, 8, (uint32_t)size);
  put(out, 12, row_count);
  put(out, 16, arrays);
  if (with_rows) {
    put(out, 20, FLAG_ROWS);
    place(out, 24, output->rows.data, output->rows.size);
  }
  put(out, 32, (uint32_t)(output->failure_rows.size / 4));
  place(out, 36, output->failure_rows.data, output->failure_rows.size);
  place(out, 44, output->reason_offsets.data, output->reason_offsets.size);
  place(out, 52, output->reasons.data, output->reasons.size);
  size_t at = HEADER_BYTES;
  for (uint32_t i = 0; i < output->made_count; i++) column_write(out, &at, &output->columns[i]);
}
