#include "queue/json.h"

#include "nearcache/queue.h"

#include <string.h>

/* One thread. Where the validator stands. */
struct reader {
    const unsigned char *text;
    size_t bytes;
    size_t at;
};

static bool is_blank(unsigned char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static bool is_digit(unsigned char c) { return c >= '0' && c <= '9'; }

static int hex_of(unsigned char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static void skip_blanks(struct reader *r)
{
    while (r->at < r->bytes && is_blank(r->text[r->at]))
        r->at++;
}

static bool peek_is(const struct reader *r, unsigned char c)
{
    return r->at < r->bytes && r->text[r->at] == c;
}

size_t nc_json_utf8(const unsigned char *at, size_t bytes)
{
    if (bytes == 0)
        return 0;
    unsigned char c = at[0];
    if (c < 0x80)
        return 1;
    size_t length = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (c < 0xc2 || c > 0xf4 || bytes < length)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    /* Overlong forms, surrogates, and what lies above U+10FFFF. */
    if ((c == 0xe0 && at[1] < 0xa0) || (c == 0xed && at[1] > 0x9f) || (c == 0xf0 && at[1] < 0x90) ||
        (c == 0xf4 && at[1] > 0x8f))
        return 0;
    return length;
}

static bool check_escape(struct reader *r)
{
    if (r->at >= r->bytes)
        return false;
    unsigned char c = r->text[r->at];
    if (c != 'u') {
        if (c == 0 || !strchr("\"\\/bfnrt", c))
            return false;
        r->at++;
        return true;
    }
    r->at++;
    for (int i = 0; i < 4; i++, r->at++)
        if (r->at >= r->bytes || hex_of(r->text[r->at]) < 0)
            return false;
    return true;
}

static bool check_string(struct reader *r)
{
    if (!peek_is(r, '"'))
        return false;
    r->at++;
    while (r->at < r->bytes) {
        unsigned char c = r->text[r->at];
        if (c == '"') {
            r->at++;
            return true;
        }
        if (c == '\\') {
            r->at++;
            if (!check_escape(r))
                return false;
            continue;
        }
        size_t length = c < 0x20 ? 0 : nc_json_utf8(r->text + r->at, r->bytes - r->at);
        if (length == 0)
            return false;
        r->at += length;
    }
    return false;
}

static bool check_digits(struct reader *r)
{
    size_t start = r->at;
    while (r->at < r->bytes && is_digit(r->text[r->at]))
        r->at++;
    return r->at > start;
}

static bool check_number(struct reader *r)
{
    if (peek_is(r, '-'))
        r->at++;
    if (peek_is(r, '0'))
        r->at++;
    else if (!check_digits(r))
        return false;
    if (peek_is(r, '.')) {
        r->at++;
        if (!check_digits(r))
            return false;
    }
    if (peek_is(r, 'e') || peek_is(r, 'E')) {
        r->at++;
        if (peek_is(r, '+') || peek_is(r, '-'))
            r->at++;
        return check_digits(r);
    }
    return true;
}

static bool check_word(struct reader *r, const char *word)
{
    size_t bytes = strlen(word);
    if (r->bytes - r->at < bytes || memcmp(r->text + r->at, word, bytes) != 0)
        return false;
    r->at += bytes;
    return true;
}

static bool check_scalar(struct reader *r)
{
    if (r->at >= r->bytes)
        return false;
    switch (r->text[r->at]) {
    case '"':
        return check_string(r);
    case 't':
        return check_word(r, "true");
    case 'f':
        return check_word(r, "false");
    case 'n':
        return check_word(r, "null");
    default:
        return check_number(r);
    }
}

/* Which of the open brackets are objects, one bit each: no recursion, so no depth hurts the stack.
 */
struct nesting {
    uint64_t objects[NEARCACHE_JSON_DEPTH / 64];
    unsigned depth;
};

static bool enter(struct nesting *nesting, bool object)
{
    if (nesting->depth >= NEARCACHE_JSON_DEPTH)
        return false;
    uint64_t bit = UINT64_C(1) << (nesting->depth % 64);
    uint64_t *word = &nesting->objects[nesting->depth / 64];
    *word = object ? *word | bit : *word & ~bit;
    nesting->depth++;
    return true;
}

static bool in_object(const struct nesting *nesting)
{
    unsigned at = nesting->depth - 1;
    return nesting->objects[at / 64] >> (at % 64) & 1;
}

static bool check_name(struct reader *r)
{
    skip_blanks(r);
    if (!check_string(r))
        return false;
    skip_blanks(r);
    if (!peek_is(r, ':'))
        return false;
    r->at++;
    return true;
}

/* After a value: closes what ends here. True when the whole text has ended or a value follows. */
static bool check_after_value(struct reader *r, struct nesting *nesting, bool *ended)
{
    for (;;) {
        skip_blanks(r);
        if (nesting->depth == 0) {
            *ended = true;
            return r->at == r->bytes;
        }
        bool object = in_object(nesting);
        if (peek_is(r, ',')) {
            r->at++;
            return !object || check_name(r);
        }
        if (!peek_is(r, object ? '}' : ']'))
            return false;
        r->at++;
        nesting->depth--;
    }
}

/* At a value. An opened bracket that does not close at once leaves the reader at its first value.
 */
static bool check_value(struct reader *r, struct nesting *nesting, bool *value_follows)
{
    *value_follows = false;
    skip_blanks(r);
    bool object = peek_is(r, '{');
    if (!object && !peek_is(r, '['))
        return check_scalar(r);
    if (!enter(nesting, object))
        return false;
    r->at++;
    skip_blanks(r);
    if (peek_is(r, object ? '}' : ']')) {
        r->at++;
        nesting->depth--;
        return true;
    }
    *value_follows = true;
    return !object || check_name(r);
}

int nc_json_check(const void *text, size_t bytes, size_t *where)
{
    struct reader r = {text, bytes, 0};
    struct nesting nesting = {.depth = 0};
    bool ended = false, good = true;
    while (good && !ended) {
        bool value_follows;
        good = check_value(&r, &nesting, &value_follows);
        if (good && !value_follows)
            good = check_after_value(&r, &nesting, &ended);
    }
    if (good)
        return 0;
    if (where)
        *where = r.at;
    return NEARCACHE_EINVAL;
}

int nearcache_json_check(const void *text, size_t bytes, size_t *where)
{
    return text ? nc_json_check(text, bytes, where) : NEARCACHE_EINVAL;
}

/* ---- reading checked text ------------------------------------------------------------------ */

struct nc_json nc_json_root(const void *checked, size_t bytes)
{
    const char *at = checked;
    while (bytes && is_blank((unsigned char)at[0])) {
        at++;
        bytes--;
    }
    while (bytes && is_blank((unsigned char)at[bytes - 1]))
        bytes--;
    return (struct nc_json){at, bytes};
}

enum nc_json_kind nc_json_kind(struct nc_json value)
{
    if (value.bytes == 0)
        return NC_JSON_NONE;
    switch (value.at[0]) {
    case '{':
        return NC_JSON_OBJECT;
    case '[':
        return NC_JSON_ARRAY;
    case '"':
        return NC_JSON_STRING;
    case 't':
        return NC_JSON_TRUE;
    case 'f':
        return NC_JSON_FALSE;
    case 'n':
        return NC_JSON_NULL;
    default:
        return NC_JSON_NUMBER;
    }
}

/* The length of the value at `at`, which is known to be well formed. */
static size_t value_bytes(const char *at, size_t bytes)
{
    size_t depth = 0, i = 0;
    while (i < bytes) {
        char c = at[i];
        if (c == '"') {
            for (i++; i < bytes && at[i] != '"'; i++)
                if (at[i] == '\\')
                    i++;
            i++;
        } else if (c == '{' || c == '[') {
            depth++;
            i++;
        } else if (c == '}' || c == ']') {
            if (depth == 0)
                return i;
            depth--;
            i++;
        } else if (depth == 0 && (c == ',' || c == ':' || is_blank((unsigned char)c))) {
            return i;
        } else {
            i++;
            continue;
        }
        if (depth == 0)
            return i;
    }
    return i;
}

static size_t skip(const struct nc_json *json, size_t at)
{
    while (at < json->bytes &&
           (is_blank((unsigned char)json->at[at]) || json->at[at] == ',' || json->at[at] == ':'))
        at++;
    return at;
}

static struct nc_json take(const struct nc_json *json, size_t *at)
{
    *at = skip(json, *at);
    struct nc_json value = {json->at + *at, value_bytes(json->at + *at, json->bytes - *at)};
    *at += value.bytes;
    return value;
}

bool nc_json_next(struct nc_json parent, size_t *cursor, struct nc_json *name,
                  struct nc_json *value)
{
    enum nc_json_kind kind = nc_json_kind(parent);
    if (kind != NC_JSON_OBJECT && kind != NC_JSON_ARRAY)
        return false;
    size_t at = skip(&parent, *cursor ? *cursor : 1);
    if (at + 1 >= parent.bytes)
        return false;
    *name = kind == NC_JSON_OBJECT ? take(&parent, &at) : (struct nc_json){NULL, 0};
    *value = take(&parent, &at);
    *cursor = at;
    return true;
}

bool nc_json_is(struct nc_json string, const char *plain)
{
    size_t bytes = strlen(plain);
    return string.bytes == bytes + 2 && string.at[0] == '"' &&
           memcmp(string.at + 1, plain, bytes) == 0;
}

struct nc_json nc_json_member(struct nc_json object, const char *name)
{
    struct nc_json found = {NULL, 0}, member, value;
    size_t cursor = 0;
    while (nc_json_next(object, &cursor, &member, &value))
        if (nc_json_is(member, name))
            found = value;
    return found;
}

bool nc_json_double(struct nc_json value, double *number)
{
    if (nc_json_kind(value) != NC_JSON_NUMBER)
        return false;
    size_t at = 0;
    bool negative = value.at[0] == '-';
    if (negative)
        at++;
    double result = 0;
    int scale = 0;
    for (; at < value.bytes && is_digit((unsigned char)value.at[at]); at++)
        result = result * 10 + (value.at[at] - '0');
    if (at < value.bytes && value.at[at] == '.')
        for (at++; at < value.bytes && is_digit((unsigned char)value.at[at]); at++, scale--)
            result = result * 10 + (value.at[at] - '0');
    if (at < value.bytes) { /* the exponent */
        bool minus = value.at[at + 1] == '-';
        int exponent = 0;
        for (at += value.at[at + 1] == '-' || value.at[at + 1] == '+' ? 2 : 1; at < value.bytes;
             at++)
            exponent = exponent < 10000 ? exponent * 10 + (value.at[at] - '0') : exponent;
        scale += minus ? -exponent : exponent;
    }
    for (; scale > 0 && result < 1e300; scale--)
        result *= 10;
    for (; scale < 0 && result > 0; scale++)
        result /= 10;
    *number = negative ? -result : result;
    return true;
}

bool nc_json_int(struct nc_json value, int64_t *number)
{
    double approximate;
    if (!nc_json_double(value, &approximate))
        return false;
    if (approximate >= 9.2e18 || approximate <= -9.2e18)
        return false;
    size_t at = value.at[0] == '-';
    int64_t result = 0;
    for (; at < value.bytes && is_digit((unsigned char)value.at[at]); at++)
        result = result * 10 + (value.at[at] - '0');
    if (at < value.bytes) { /* 1.0 and 1e3 are integers too */
        result = (int64_t)approximate;
        if ((double)result != approximate)
            return false;
        *number = result;
        return true;
    }
    *number = value.at[0] == '-' ? -result : result;
    return true;
}

static uint32_t hex4(const char *at)
{
    uint32_t code = 0;
    for (int i = 0; i < 4; i++)
        code = code << 4 | (uint32_t)hex_of((unsigned char)at[i]);
    return code;
}

static void add_code(struct nc_text *text, uint32_t code)
{
    char out[4];
    size_t bytes;
    if (code < 0x80) {
        out[0] = (char)code;
        bytes = 1;
    } else if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 63));
        bytes = 2;
    } else if (code < 0x10000) {
        out[0] = (char)(0xe0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 63));
        out[2] = (char)(0x80 | (code & 63));
        bytes = 3;
    } else {
        out[0] = (char)(0xf0 | code >> 18);
        out[1] = (char)(0x80 | (code >> 12 & 63));
        out[2] = (char)(0x80 | (code >> 6 & 63));
        out[3] = (char)(0x80 | (code & 63));
        bytes = 4;
    }
    nc_text_add(text, out, bytes);
}

/* At the character behind the backslash; returns how many characters the escape took. */
static size_t add_escape(struct nc_text *text, const char *at, size_t left)
{
    static const char names[] = "\"\\/bfnrt", codes[] = "\"\\/\b\f\n\r\t";
    if (at[0] != 'u') {
        const char *name = strchr(names, at[0]);
        nc_text_add(text, codes + (name - names), 1);
        return 1;
    }
    uint32_t code = hex4(at + 1);
    if (code >= 0xd800 && code < 0xdc00 && left >= 11 && at[5] == '\\' && at[6] == 'u') {
        uint32_t low = hex4(at + 7);
        if (low >= 0xdc00 && low < 0xe000) {
            add_code(text, 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00));
            return 11;
        }
    }
    add_code(text, code >= 0xd800 && code < 0xe000 ? 0xfffd : code);
    return 5;
}

bool nc_json_string(struct nc_json value, struct nc_text *decoded)
{
    if (nc_json_kind(value) != NC_JSON_STRING)
        return false;
    size_t end = value.bytes - 1;
    nc_text_add(decoded, "", 0);
    for (size_t at = 1; at < end;) {
        const char *escape = memchr(value.at + at, '\\', end - at);
        size_t plain = escape ? (size_t)(escape - value.at) - at : end - at;
        nc_text_add(decoded, value.at + at, plain);
        at += plain;
        if (escape)
            at += 1 + add_escape(decoded, value.at + at + 1, end - at - 1);
    }
    return true;
}

void nc_json_add_string(struct nc_text *text, const void *data, size_t bytes)
{
    const unsigned char *in = data;
    nc_text_add(text, "\"", 1);
    for (size_t at = 0; at < bytes;) {
        size_t run = at;
        size_t length = 1;
        while (run < bytes && in[run] >= 0x20 && in[run] != '"' && in[run] != '\\') {
            length = nc_json_utf8(in + run, bytes - run);
            if (length == 0)
                break;
            run += length;
        }
        nc_text_add(text, in + at, run - at);
        at = run;
        if (at == bytes)
            break;
        if (length == 0)
            nc_text_add(text, "\xef\xbf\xbd", 3);
        else if (in[at] == '"' || in[at] == '\\')
            nc_text_add(text, in[at] == '"' ? "\\\"" : "\\\\", 2);
        else if (in[at] == '\n')
            nc_text_add(text, "\\n", 2);
        else if (in[at] == '\t')
            nc_text_add(text, "\\t", 2);
        else
            nc_text_add_format(text, "\\u%04x", in[at]);
        at++;
    }
    nc_text_add(text, "\"", 1);
}
