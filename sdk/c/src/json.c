/* JSON into a tree: the request of `describe`, which the host wrote. */
#include "internal.h"

typedef struct {
  const char *at, *end;
} reader;

static gm_json *value(reader *in, int depth);

static void blanks(reader *in) {
  while (in->at < in->end && strchr(" \t\r\n", *in->at) && *in->at) in->at++;
}

static bool take(reader *in, char c) {
  blanks(in);
  if (in->at >= in->end || *in->at != c) return false;
  in->at++;
  return true;
}

static bool word(reader *in, const char *word) {
  size_t size = strlen(word);
  if ((size_t)(in->end - in->at) < size || memcmp(in->at, word, size) != 0) return false;
  in->at += size;
  return true;
}

static int hex4(reader *in) {
  int code = 0;
  if (in->end - in->at < 4) return -1;
  for (int i = 0; i < 4; i++) {
    char c = *in->at++;
    int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
    if (digit < 0) return -1;
    code = code * 16 + digit;
  }
  return code;
}

/* Appends a character as UTF-8 and answers its end. */
static char *utf8(char *to, uint32_t code) {
  if (code < 0x80) {
    *to++ = (char)code;
  } else if (code < 0x800) {
    *to++ = (char)(0xc0 | code >> 6);
    *to++ = (char)(0x80 | (code & 63));
  } else if (code < 0x10000) {
    *to++ = (char)(0xe0 | code >> 12);
    *to++ = (char)(0x80 | (code >> 6 & 63));
    *to++ = (char)(0x80 | (code & 63));
  } else {
    *to++ = (char)(0xf0 | code >> 18);
    *to++ = (char)(0x80 | (code >> 12 & 63));
    *to++ = (char)(0x80 | (code >> 6 & 63));
    *to++ = (char)(0x80 | (code & 63));
  }
  return to;
}

/* The character of a \u escape, with its second half if it is the first of a pair. */
static bool escape(reader *in, char **to) {
  int code = hex4(in);
  if (code < 0 || (code >= 0xdc00 && code < 0xe000)) return false;
  if (code >= 0xd800 && code < 0xdc00) {
    if (!word(in, "\\u")) return false;
    int low = hex4(in);
    if (low < 0xdc00 || low > 0xdfff) return false;
    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
  }
  *to = utf8(*to, (uint32_t)code);
  return true;
}

static bool text(reader *in, gm_text *out) {
  if (!take(in, '"')) return false;
  /* An escape is never shorter than what it stands for. */
  const char *end = in->at;
  while (end < in->end && *end != '"') end += *end == '\\' ? 2 : 1;
  if (end >= in->end) return false;
  char *start = gm_allocate((size_t)(end - in->at)), *to = start;
  while (in->at < end) {
    char c = *in->at++;
    if (c != '\\') {
      *to++ = c;
      continue;
    }
    c = *in->at++;
    const char *known = "\"\\/bfnrt", *plain = "\"\\/\b\f\n\r\t", *found = c ? strchr(known, c) : NULL;
    if (found) *to++ = plain[found - known];
    else if (c != 'u' || !escape(in, &to)) return false;
  }
  in->at = end + 1;
  *out = (gm_text){start, (size_t)(to - start)};
  return true;
}

static bool members(reader *in, gm_json *parent, char close, int depth) {
  gm_json **next = &parent->first;
  if (take(in, close)) return true;
  do {
    gm_text name = {0};
    if (close == '}' && !(text(in, &name) && take(in, ':'))) return false;
    gm_json *member = value(in, depth + 1);
    if (!member) return false;
    member->name = name;
    *next = member;
    next = &member->next;
  } while (take(in, ','));
  return take(in, close);
}

static bool number(reader *in, gm_text *out) {
  const char *start = in->at;
  while (in->at < in->end && *in->at && strchr("+-.0123456789eE", *in->at)) in->at++;
  *out = (gm_text){start, (size_t)(in->at - start)};
  return out->size > 0;
}

static gm_json *value(reader *in, int depth) {
  if (depth > GM_DEPTH_MAX) return NULL;
  blanks(in);
  if (in->at >= in->end) return NULL;
  gm_json *json = gm_allocate(sizeof *json);
  memset(json, 0, sizeof *json);
  bool good;
  if (*in->at == '"') {
    json->kind = GM_JSON_TEXT;
    good = text(in, &json->text);
  } else if (take(in, '[')) {
    json->kind = GM_JSON_LIST;
    good = members(in, json, ']', depth);
  } else if (take(in, '{')) {
    json->kind = GM_JSON_OBJECT;
    good = members(in, json, '}', depth);
  } else if (word(in, "null")) {
    good = true;
  } else if (word(in, "true")) {
    json->kind = GM_JSON_BOOLEAN;
    good = json->boolean = true;
  } else if (word(in, "false")) {
    json->kind = GM_JSON_BOOLEAN;
    good = true;
  } else {
    json->kind = GM_JSON_NUMBER;
    good = number(in, &json->text);
    /* A copy: the request's memory is used again. */
    char *digits = gm_allocate(json->text.size + 1);
    memcpy(digits, json->text.data, json->text.size);
    digits[json->text.size] = 0;
    json->text.data = digits;
  }
  return good ? json : NULL;
}

gm_json *gm_json_parse(gm_text source) {
  reader in = {source.data, source.data + source.size};
  gm_json *json = value(&in, 0);
  blanks(&in);
  return in.at == in.end ? json : NULL;
}

gm_json *gm_json_member(gm_json *object, const char *name) {
  if (!object || object->kind != GM_JSON_OBJECT) return NULL;
  for (gm_json *member = object->first; member; member = member->next) {
    if (gm_text_equal(member->name, gm_text_of(name))) return member;
  }
  return NULL;
}

void gm_json_write_text(gm_buffer *out, gm_text text) {
  static const char hex[] = "0123456789abcdef";
  gm_append(out, "\"", 1);
  for (size_t i = 0; i < text.size; i++) {
    char c = text.data[i];
    if (c == '"' || c == '\\') {
      gm_append(out, (char[]){'\\', c}, 2);
    } else if ((unsigned char)c < 32) {
      gm_append(out, (char[]){'\\', 'u', '0', '0', hex[c >> 4 & 15], hex[c & 15]}, 6);
    } else {
      gm_append(out, &c, 1);
    }
  }
  gm_append(out, "\"", 1);
}
