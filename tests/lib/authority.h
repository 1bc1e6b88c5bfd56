/*
 * A certificate authority for a test, made anew in a folder of its own by the openssl command, and
 * what it signs. One thread.
 */
#ifndef LIB_AUTHORITY_H
#define LIB_AUTHORITY_H

#include <stdbool.h>

struct authority {
    char directory[64];
    char ca_file[128];
};

/* False, with a line on standard error: the openssl command is missing or failed. */
bool authority_create(struct authority *authority);
/* NAME.pem and NAME.key in the folder, valid for `days` (-1: expired yesterday), for the
 * subjectAltName given ("DNS:localhost,IP:127.0.0.1"). */
bool authority_sign(const struct authority *authority, const char *name, const char *alt_name,
                    int days);
/* Path of a file in the folder; in a buffer of the caller's. */
const char *authority_path(const struct authority *authority, const char *name, char path[128]);
void authority_destroy(struct authority *authority);

#endif
