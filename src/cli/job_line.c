#include "cli/job_line.h"

#include <stdint.h>
#include <string.h>

/* One thread. Where in the line. */
struct scanner {
    char *at, *end;
};

static void skip_blanks(struct scanner *s)
{
    while (s->at < s->end && strchr(" \t\r\n", *s->at) && *s->at)
        s->at++;
}

static bool take(struct scanner *s, char c)
{
    skip_blanks(s);
    if (s->at >= s->end || *s->at != c)
        return false;
    s->at++;
    return true;
}

/* Behind the closing quote; the scanner stands at the opening one. */
static bool skip_string(struct scanner *s)
{
    for (s->at++; s->at < s->end; s->at++) {
        if (*s->at == '\\' && s->at + 1 < s->end)
            s->at++;
        else if (*s->at == '"') {
            s->at++;
            return true;
        }
    }
    return false;
}

/* Behind a value of any kind. Brackets are counted, not matched: the library looks closer. */
static bool skip_value(struct scanner *s)
{
    unsigned depth = 0;
    skip_blanks(s);
    char *begin = s->at;
    while (s->at < s->end) {
        char c = *s->at;
        if (c == '"') {
            if (!skip_string(s))
                return false;
        } else if (c == '{' || c == '[') {
            depth++;
            s->at++;
        } else if (c == '}' || c == ']') {
            if (depth == 0)
                break;
            depth--;
            s->at++;
        } else if (depth == 0 && (c == ',' || strchr(" \t\r\n", c))) {
            break;
        } else {
            s->at++;
            continue;
        }
        if (depth == 0)
            break;
    }
    return depth == 0 && s->at > begin;
}

static int hex4(const char *at, const char *end, uint32_t *code)
{
    *code = 0;
    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        const char *digits = "0123456789abcdefABCDEF";
        const char *digit = at[i] ? strchr(digits, at[i]) : NULL;
        if (!digit)
            return -1;
        uint32_t value = (uint32_t)(digit - digits);
        *code = *code << 4 | (value < 16 ? value : value - 6);
    }
    return 0;
}

static char *put_code(char *out, uint32_t code)
{
    if (code < 0x80) {
        *out++ = (char)code;
    } else if (code < 0x800) {
        *out++ = (char)(0xc0 | code >> 6);
        *out++ = (char)(0x80 | (code & 63));
    } else if (code < 0x10000) {
        *out++ = (char)(0xe0 | code >> 12);
        *out++ = (char)(0x80 | (code >> 6 & 63));
        *out++ = (char)(0x80 | (code & 63));
    } else {
        *out++ = (char)(0xf0 | code >> 18);
        *out++ = (char)(0x80 | (code >> 12 & 63));
        *out++ = (char)(0x80 | (code >> 6 & 63));
        *out++ = (char)(0x80 | (code & 63));
    }
    return out;
}

/* One escape; NULL when it is none. It never grows, so decoding in place is safe. */
static char *decode_escape(char *out, char **at, char *end)
{
    static const char names[] = "\"\\/bfnrt", codes[] = "\"\\/\b\f\n\r\t";
    const char *name = **at ? strchr(names, **at) : NULL;
    uint32_t code, low;
    if (name) {
        *out = codes[name - names];
        (*at)++;
        return out + 1;
    }
    if (**at != 'u' || hex4(*at + 1, end, &code))
        return NULL;
    *at += 5;
    if (code >= 0xd800 && code < 0xdc00 && end - *at >= 6 && (*at)[0] == '\\' && (*at)[1] == 'u' &&
        hex4(*at + 2, end, &low) == 0 && low >= 0xdc00 && low < 0xe000) {
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        *at += 6;
    }
    if (code == 0)
        return NULL;
    return put_code(out, code >= 0xd800 && code < 0xe000 ? 0xfffd : code);
}

/* The string between begin and end (its quotes), decoded in place and zero-terminated. */
static const char *decode(char *begin, char *end)
{
    char *out = begin + 1, *at = begin + 1;
    end--;
    while (at < end) {
        if (*at == 0)
            return NULL;
        if (*at != '\\') {
            *out++ = *at++;
            continue;
        }
        at++;
        out = decode_escape(out, &at, end);
        if (!out)
            return NULL;
    }
    *out = 0;
    return begin + 1;
}

static bool is_name(const char *begin, const char *end, const char *name)
{
    size_t bytes = strlen(name);
    return (size_t)(end - begin) == bytes + 2 && memcmp(begin + 1, name, bytes) == 0;
}

/* One member; false with a reason. The name's bytes change last: later members stay as they are. */
static bool take_member(struct scanner *s, struct cli_job_line *job, char **name_begin,
                        char **name_end, const char **why)
{
    skip_blanks(s);
    char *begin = s->at;
    *why = "a member's name is missing";
    if (begin >= s->end || *begin != '"' || !skip_string(s))
        return false;
    char *end = s->at;
    *why = "no JSON value";
    if (!take(s, ':'))
        return false;
    skip_blanks(s);
    char *value = s->at;
    if (!skip_value(s))
        return false;
    size_t bytes = (size_t)(s->at - value);
    if (is_name(begin, end, "name")) {
        *why = "name is not a string";
        if (*value != '"')
            return false;
        *name_begin = value;
        *name_end = s->at;
    } else if (is_name(begin, end, "data")) {
        job->data = value;
        job->data_bytes = bytes;
    } else if (is_name(begin, end, "opts")) {
        job->options = value;
        job->options_bytes = bytes;
    } else {
        *why = "a member that is not name, data or opts";
        return false;
    }
    return true;
}

bool cli_job_line_parse(char *line, size_t bytes, struct cli_job_line *job, const char **why)
{
    struct scanner s = {line, line + bytes};
    char *name_begin = NULL, *name_end = NULL;
    memset(job, 0, sizeof *job);
    *why = "not a JSON object";
    if (!take(&s, '{'))
        return false;
    do
        if (!take_member(&s, job, &name_begin, &name_end, why))
            return false;
    while (take(&s, ','));
    *why = "the object does not end with the line";
    if (!take(&s, '}'))
        return false;
    skip_blanks(&s);
    if (s.at != s.end)
        return false;
    *why = "there is no name";
    if (!name_begin)
        return false;
    *why = "the name is not a valid string";
    job->name = decode(name_begin, name_end);
    return job->name != NULL;
}

bool cli_job_line_is_value(const char *text)
{
    char *begin = (char *)(uintptr_t)text; /* skipping changes nothing */
    struct scanner s = {begin, begin + strlen(text)};
    if (!skip_value(&s))
        return false;
    skip_blanks(&s);
    return s.at == s.end;
}
