#include "lib/authority.h"

#include "lib/child.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A shell command in the folder, silent unless it fails. */
static bool shell(const struct authority *authority, const char *format, ...)
{
    char command[1024], line[1200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    snprintf(line, sizeof line, "cd %s && { %s; } >log 2>&1 || { cat log >&2; exit 1; }",
             authority->directory, command);
    const char *const argv[] = {"/bin/sh", "-c", line, NULL};
    return child_wait(child_start(argv, -1, -1, -1), 60000) == 0;
}

#define NEW_KEY "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"

bool authority_create(struct authority *authority)
{
    snprintf(authority->directory, sizeof authority->directory, "/tmp/authority.XXXXXX");
    if (!mkdtemp(authority->directory)) {
        perror("authority: a folder");
        return false;
    }
    authority_path(authority, "ca.pem", authority->ca_file);
    return shell(authority, "openssl req -x509 " NEW_KEY
                            " -keyout ca.key -out ca.pem -subj /CN=authority -days 2");
}

bool authority_sign(const struct authority *authority, const char *name, const char *alt_name,
                    int days)
{
    return shell(authority,
                 "openssl req -new " NEW_KEY " -keyout %s.key -out %s.csr -subj /CN=%s && "
                 "echo 'subjectAltName=%s' >%s.ext && "
                 "openssl x509 -req -in %s.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days %d "
                 "-extfile %s.ext -out %s.pem",
                 name, name, name, alt_name, name, name, days, name, name);
}

const char *authority_path(const struct authority *authority, const char *name, char path[128])
{
    snprintf(path, 128, "%s/%s", authority->directory, name);
    return path;
}

void authority_destroy(struct authority *authority)
{
    if (authority->directory[0])
        shell(authority, "rm -rf %s", authority->directory);
    authority->directory[0] = '\0';
}
