#include "sync/message.h"

bool nc_message_number(const char **at, const char *end, uint64_t *number)
{
    const char *p = *at;
    uint64_t n = 0;
    if (p == end || *p < '0' || *p > '9')
        return false;
    for (; p < end && *p >= '0' && *p <= '9'; p++) {
        uint64_t digit = (uint64_t)(*p - '0');
        if (n > (UINT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    if (p < end && *p++ != ' ')
        return false;
    *at = p;
    *number = n;
    return true;
}

static bool hex_number(const char **at, const char *end, uint64_t *number)
{
    const char *p = *at;
    uint64_t n = 0;
    for (; p < end && *p != ' '; p++) {
        int digit = *p >= '0' && *p <= '9' ? *p - '0' : *p >= 'a' && *p <= 'f' ? *p - 'a' + 10 : -1;
        if (digit < 0 || p - *at >= 16)
            return false;
        n = n << 4 | (uint64_t)digit;
    }
    if (p == *at || p == end)
        return false;
    *at = p + 1;
    *number = n;
    return true;
}

bool nc_message_open(struct nc_message *m, const char *text, size_t bytes)
{
    const char *at = text, *end = text + bytes;
    uint64_t version, keys;
    if (!nc_message_number(&at, end, &version) || version != 1 || end - at < 2 || at[1] != ' ')
        return false;
    m->kind = at[0];
    at += 2;
    if ((m->kind != 'W' && m->kind != 'D' && m->kind != 'C') ||
        !nc_message_number(&at, end, &m->prev) || !nc_message_number(&at, end, &m->s) ||
        !hex_number(&at, end, &m->origin) || !nc_message_number(&at, end, &keys) ||
        m->s <= m->prev || keys == 0 || keys > UINT32_MAX)
        return false;
    m->keys = (uint32_t)keys;
    m->at = at;
    m->end = end;
    return true;
}

bool nc_message_key(struct nc_message *m, const char **key, size_t *key_bytes)
{
    uint64_t bytes;
    const char *at = m->at;
    if (m->keys == 0 || !nc_message_number(&at, m->end, &bytes) || bytes > (size_t)(m->end - at))
        return false;
    *key = at;
    *key_bytes = (size_t)bytes;
    at += bytes;
    m->keys--;
    if (m->keys != 0 && (at == m->end || *at++ != ' '))
        return false;
    m->at = at;
    return true;
}
