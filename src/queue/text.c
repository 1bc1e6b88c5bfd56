#include "queue/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void nc_text_deinit(struct nc_text *text)
{
    free(text->data);
    memset(text, 0, sizeof *text);
}

void nc_text_clear(struct nc_text *text)
{
    text->bytes = 0;
    text->failed = false;
    if (text->data)
        text->data[0] = 0;
}

/* Room for `more` bytes and a final zero. */
static bool reserve(struct nc_text *text, size_t more)
{
    if (text->failed)
        return false;
    if (more >= SIZE_MAX / 2 - text->bytes) {
        text->failed = true;
        return false;
    }
    size_t needed = text->bytes + more + 1;
    if (needed <= text->capacity)
        return true;
    size_t capacity = text->capacity ? text->capacity * 2 : 64;
    if (capacity < needed)
        capacity = needed;
    char *data = realloc(text->data, capacity);
    if (!data) {
        text->failed = true;
        return false;
    }
    text->data = data;
    text->capacity = capacity;
    return true;
}

void nc_text_add(struct nc_text *text, const void *data, size_t bytes)
{
    if (!reserve(text, bytes))
        return;
    if (bytes)
        memcpy(text->data + text->bytes, data, bytes);
    text->bytes += bytes;
    text->data[text->bytes] = 0;
}

void nc_text_add_string(struct nc_text *text, const char *string)
{
    nc_text_add(text, string, strlen(string));
}

void nc_text_add_int(struct nc_text *text, int64_t number)
{
    char digits[24];
    int bytes = snprintf(digits, sizeof digits, "%lld", (long long)number);
    nc_text_add(text, digits, (size_t)bytes);
}

void nc_text_add_format(struct nc_text *text, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    int bytes = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (bytes < 0) {
        text->failed = true;
    } else if ((size_t)bytes < sizeof line) {
        nc_text_add(text, line, (size_t)bytes);
    } else if (reserve(text, (size_t)bytes)) {
        va_start(args, format);
        vsnprintf(text->data + text->bytes, (size_t)bytes + 1, format, args);
        va_end(args);
        text->bytes += (size_t)bytes;
    }
}

void nc_text_add_base64(struct nc_text *text, const void *data, size_t bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *in = data;
    for (size_t i = 0; i < bytes; i += 3) {
        size_t left = bytes - i;
        uint32_t group = (uint32_t)in[i] << 16;
        if (left > 1)
            group |= (uint32_t)in[i + 1] << 8;
        if (left > 2)
            group |= in[i + 2];
        char out[4] = {digits[group >> 18], digits[group >> 12 & 63],
                       left > 1 ? digits[group >> 6 & 63] : '=',
                       left > 2 ? digits[group & 63] : '='};
        nc_text_add(text, out, sizeof out);
    }
}

char *nc_text_copy(const void *data, size_t bytes)
{
    char *copy = malloc(bytes + 1);
    if (!copy)
        return NULL;
    if (bytes)
        memcpy(copy, data, bytes);
    copy[bytes] = 0;
    return copy;
}
