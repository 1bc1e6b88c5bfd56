#include "cli/json_check.h"

#include <nearcache/queue.h>

#include <string.h>

/* One thread. Where in the text. */
struct scanner {
    const unsigned char *at, *end;
    unsigned depth;
};

size_t cli_json_sequence_bytes(const unsigned char *text, size_t bytes)
{
    size_t length = text[0] < 0x80                       ? 1
                    : text[0] >= 0xc2 && text[0] <= 0xdf ? 2
                    : (text[0] & 0xf0) == 0xe0           ? 3
                    : text[0] >= 0xf0 && text[0] <= 0xf4 ? 4
                                                         : 0;

    if (length > bytes)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
        (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f))
        return 0;
    return length;
}

static void skip_blanks(struct scanner *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r'))
        s->at++;
}

/* Takes one of the characters. */
static bool take(struct scanner *s, const char *characters)
{
    if (s->at == s->end || *s->at == 0 || !strchr(characters, *s->at))
        return false;
    s->at++;
    return true;
}

static bool take_word(struct scanner *s, const char *word)
{
    size_t bytes = strlen(word);

    if ((size_t)(s->end - s->at) < bytes || memcmp(s->at, word, bytes) != 0)
        return false;
    s->at += bytes;
    return true;
}

static bool take_digits(struct scanner *s)
{
    const unsigned char *begin = s->at;

    while (take(s, "0123456789"))
        continue;
    return s->at > begin;
}

static bool take_number(struct scanner *s)
{
    take(s, "-");
    if (!take(s, "0") && !take_digits(s))
        return false;
    if (take(s, ".") && !take_digits(s))
        return false;
    if (!take(s, "eE"))
        return true;
    take(s, "+-");
    return take_digits(s);
}

static bool take_escape(struct scanner *s)
{
    if (!take(s, "u"))
        return take(s, "\"\\/bfnrt");
    for (int i = 0; i < 4; i++)
        if (!take(s, "0123456789abcdefABCDEF"))
            return false;
    return true;
}

static bool take_string(struct scanner *s)
{
    if (!take(s, "\""))
        return false;
    while (!take(s, "\"")) {
        size_t length =
            s->at < s->end ? cli_json_sequence_bytes(s->at, (size_t)(s->end - s->at)) : 0;
        if (length == 0 || *s->at < 0x20)
            return false;
        bool escape = *s->at == '\\';
        s->at += length;
        if (escape && !take_escape(s))
            return false;
    }
    return true;
}

static bool take_value(struct scanner *s);

/* What stands between brackets, up to the closing one. */
static bool take_items(struct scanner *s, bool named, const char *closing)
{
    skip_blanks(s);
    if (take(s, closing))
        return true;
    do {
        skip_blanks(s);
        if (named && !take_string(s))
            return false;
        skip_blanks(s);
        if (named && !take(s, ":"))
            return false;
        if (!take_value(s))
            return false;
    } while (take(s, ","));
    return take(s, closing);
}

/* With the blanks around it. */
static bool take_value(struct scanner *s)
{
    bool fine;

    skip_blanks(s);
    if (s->at == s->end)
        return false;
    switch (*s->at) {
    case '{':
    case '[':
        fine =
            ++s->depth <= NEARCACHE_JSON_DEPTH &&
            (take(s, "{") ? take_items(s, true, "}") : take(s, "[") && take_items(s, false, "]"));
        s->depth--;
        break;
    case '"':
        fine = take_string(s);
        break;
    case 't':
        fine = take_word(s, "true");
        break;
    case 'f':
        fine = take_word(s, "false");
        break;
    case 'n':
        fine = take_word(s, "null");
        break;
    default:
        fine = take_number(s);
    }
    skip_blanks(s);
    return fine;
}

bool cli_json_is_value(const char *text, size_t bytes)
{
    const unsigned char *begin = (const unsigned char *)text;
    struct scanner s = {begin, begin + bytes, 0};

    return take_value(&s) && s.at == s.end;
}
