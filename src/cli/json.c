#include "cli/json.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

void cli_json_init(struct cli_json *json, FILE *out)
{
    json->out = out;
    json->depth = 0;
    json->empty[0] = true;
}

/* The length of the UTF-8 sequence at text, 0 if there is none (RFC 3629: no overlong forms, no
 * surrogates, nothing above U+10FFFF). */
static size_t sequence_bytes(const unsigned char *text, size_t bytes)
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

static void write_string(FILE *out, const char *text, size_t bytes)
{
    const unsigned char *at = (const unsigned char *)text, *end = at + bytes;

    fputc('"', out);
    while (at < end) {
        size_t length = sequence_bytes(at, (size_t)(end - at));

        if (length == 0) {
            fputs("\\ufffd", out);
            at++;
        } else if (*at == '"' || *at == '\\') {
            fputc('\\', out);
            fputc(*at++, out);
        } else if (*at < 0x20 || *at == 0x7f) {
            fprintf(out, "\\u%04x", *at++);
        } else {
            fwrite(at, 1, length, out);
            at += length;
        }
    }
    fputc('"', out);
}

/* Comma, line break, indentation and name: what stands before any value. */
static void begin_value(struct cli_json *json, const char *name)
{
    if (json->depth) {
        fputs(json->empty[json->depth] ? "\n" : ",\n", json->out);
        fprintf(json->out, "%*s", (int)json->depth * 2, "");
    }
    json->empty[json->depth] = false;
    if (name) {
        write_string(json->out, name, strlen(name));
        fputs(": ", json->out);
    }
}

static void begin_group(struct cli_json *json, const char *name, char bracket)
{
    if (!json->out)
        return;
    begin_value(json, name);
    fputc(bracket, json->out);
    assert(json->depth + 1 < CLI_JSON_DEPTH);
    json->empty[++json->depth] = true;
}

static void end_group(struct cli_json *json, char bracket)
{
    bool empty;

    if (!json->out)
        return;
    empty = json->empty[json->depth--];
    if (!empty)
        fprintf(json->out, "\n%*s", (int)json->depth * 2, "");
    fputc(bracket, json->out);
    if (json->depth == 0)
        fputc('\n', json->out);
}

void cli_json_begin_object(struct cli_json *json, const char *name)
{
    begin_group(json, name, '{');
}

void cli_json_end_object(struct cli_json *json) { end_group(json, '}'); }

void cli_json_begin_array(struct cli_json *json, const char *name) { begin_group(json, name, '['); }

void cli_json_end_array(struct cli_json *json) { end_group(json, ']'); }

void cli_json_bytes(struct cli_json *json, const char *name, const char *text, size_t bytes)
{
    if (!json->out)
        return;
    begin_value(json, name);
    write_string(json->out, text, bytes);
}

void cli_json_text(struct cli_json *json, const char *name, const char *text)
{
    cli_json_bytes(json, name, text, strlen(text));
}

void cli_json_number(struct cli_json *json, const char *name, uint64_t number)
{
    if (!json->out)
        return;
    begin_value(json, name);
    fprintf(json->out, "%" PRIu64, number);
}

void cli_json_signed(struct cli_json *json, const char *name, int64_t number)
{
    if (!json->out)
        return;
    begin_value(json, name);
    fprintf(json->out, "%" PRId64, number);
}

void cli_json_real(struct cli_json *json, const char *name, double number, int digits)
{
    if (!isfinite(number)) {
        cli_json_null(json, name);
        return;
    }
    if (!json->out)
        return;
    begin_value(json, name);
    fprintf(json->out, "%.*f", digits, number);
}

void cli_json_bool(struct cli_json *json, const char *name, bool yes)
{
    if (!json->out)
        return;
    begin_value(json, name);
    fputs(yes ? "true" : "false", json->out);
}

void cli_json_raw(struct cli_json *json, const char *name, const char *text, size_t bytes)
{
    if (!json->out)
        return;
    begin_value(json, name);
    fwrite(text, 1, bytes, json->out);
}

void cli_json_null(struct cli_json *json, const char *name)
{
    if (!json->out)
        return;
    begin_value(json, name);
    fputs("null", json->out);
}
