#include <stdio.h>

#include "internal.h"

void *gm_allocate(size_t bytes) {
  void *memory = malloc(bytes ? bytes : 1);
  if (!memory) __builtin_trap();
  return memory;
}

void *gm_grow(gm_buffer *buffer, size_t bytes) {
  size_t needed = buffer->size + bytes;
  if (needed < bytes) __builtin_trap();
  if (needed > buffer->capacity) {
    size_t capacity = needed + needed / 2 + 64;
    buffer->data = realloc(buffer->data, capacity);
    if (!buffer->data) __builtin_trap();
    buffer->capacity = capacity;
  }
  void *at = buffer->data + buffer->size;
  buffer->size = needed;
  return at;
}

void gm_append(gm_buffer *buffer, const void *data, size_t bytes) {
  void *at = gm_grow(buffer, bytes);
  if (bytes) memcpy(at, data, bytes);
}

void gm_append_text(gm_buffer *buffer, const char *text) { gm_append(buffer, text, strlen(text)); }

void gm_append_format(gm_buffer *buffer, const char *format, va_list arguments) {
  char text[GM_REASON_BYTES_MAX];
  int size = vsnprintf(text, sizeof text, format, arguments);
  if (size < 0) size = 0;
  if (size >= (int)sizeof text) {
    size = (int)sizeof text - 1;
    /* Not in the middle of a character. */
    while (size > 0 && ((uint8_t)text[size] & 0xc0) == 0x80) size--;
  }
  gm_append(buffer, text, (size_t)size);
}

gm_text gm_text_of(const char *text) { return (gm_text){text, strlen(text)}; }

bool gm_text_equal(gm_text left, gm_text right) {
  return left.size == right.size && (left.size == 0 || memcmp(left.data, right.data, left.size) == 0);
}
