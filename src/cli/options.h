/*
 * cli/options: the options of a command as one table, from which both the parsing (getopt_long)
 * and the text of --help are made.
 */
#ifndef NC_CLI_OPTIONS_H
#define NC_CLI_OPTIONS_H

#include "cli/cli.h"

enum cli_option_kind {
    CLI_FLAG,   /* bool *out */
    CLI_TEXT,   /* const char **out, into argv */
    CLI_NUMBER, /* uint64_t *out within [least, most] */
    CLI_BYTES,  /* uint64_t *out; k, m or g may follow the number (powers of 1024) */
    CLI_CHOICE, /* int *out: the index in `choices` */
    CLI_URL     /* const char **out: a copy; the password in argv is overwritten */
};

struct cli_option {
    const char *name;
    enum cli_option_kind kind;
    const char *value; /* how --help calls the value; NULL for a flag */
    const char *help;
    void *out;
    uint64_t least, most;       /* most 0: no upper limit */
    const char *const *choices; /* ends with NULL */
};

/* Result of cli_options_parse when the command should go on. Else it is an exit status. */
enum { CLI_GO_ON = -1 };

/*
 * Parses argv and checks that between `least` and `most` arguments follow the options; they then
 * stand at *arguments (the array is argv itself, permuted). Prints help and usage errors itself.
 */
int cli_options_parse(const struct cli_command *command, const struct cli_option *options,
                      size_t count, int argc, char **argv, int least, int most, char ***arguments);

/* A number of plain digits, nothing else. False: it is none, or is too large. */
bool cli_parse_number(const char *text, uint64_t *number);
/* The same with an optional k, m or g. */
bool cli_parse_bytes(const char *text, uint64_t *bytes);

/* Overwrites the password of a URL with 'x' in place. */
void cli_hide_password(char *url);

#endif
