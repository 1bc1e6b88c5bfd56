#include "cli/options.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_OPTIONS 48
#define HELP_COLUMN 26
#define HELP_WIDTH 60

bool cli_parse_number(const char *text, uint64_t *number)
{
    char *end;

    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0';
}

bool cli_parse_bytes(const char *text, uint64_t *bytes)
{
    static const char units[] = "kmg";
    uint64_t number;
    const char *unit;
    char *end;

    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    number = strtoull(text, &end, 10);
    if (errno)
        return false;
    if (*end) {
        unit = strchr(units, tolower((unsigned char)*end));
        if (!unit || end[1] || number > UINT64_MAX >> (10 * (unit - units + 1)))
            return false;
        number <<= 10 * (unit - units + 1);
    }
    *bytes = number;
    return true;
}

void cli_hide_password(char *url)
{
    char *begin = strstr(url, "://");
    char *end;

    begin = begin ? begin + 3 : url;
    end = strrchr(begin, '@');
    begin = end ? memchr(begin, ':', (size_t)(end - begin)) : NULL;
    if (begin)
        memset(begin + 1, 'x', (size_t)(end - begin) - 1);
}

/* ---- help ------------------------------------------------------------------------------------ */

/* Prints words in lines of HELP_WIDTH, the following ones indented. */
static void print_wrapped(const char *text, int indent)
{
    size_t column = 0;

    while (*text) {
        size_t word = strcspn(text, " ");

        if (column && column + 1 + word > HELP_WIDTH) {
            printf("\n%*s", indent, "");
            column = 0;
        } else if (column) {
            putchar(' ');
            column++;
        }
        fwrite(text, 1, word, stdout);
        column += word;
        text += word;
        text += *text == ' ';
    }
    putchar('\n');
}

static void print_option(const char *name, const char *value, const char *help)
{
    int width = printf("  --%s%s%s", name, value ? " " : "", value ? value : "");

    if (width >= HELP_COLUMN)
        printf("\n%*s", HELP_COLUMN, "");
    else
        printf("%*s", HELP_COLUMN - width, "");
    print_wrapped(help, HELP_COLUMN);
}

static void print_usage(FILE *out, const struct cli_command *command)
{
    fprintf(out, "usage: nearcache %s [OPTIONS]%s%s\n", command->name,
            command->arguments[0] ? " " : "", command->arguments);
}

static void print_help(const struct cli_command *command, const struct cli_option *options,
                       size_t count)
{
    print_usage(stdout, command);
    printf("\n%s.\n", command->summary);
    if (command->details)
        printf("\n%s", command->details);
    puts("\noptions:");
    for (size_t i = 0; i < count; i++)
        print_option(options[i].name, options[i].value, options[i].help);
    print_option("help", NULL, "this text");
}

static int usage_error(const struct cli_command *command)
{
    print_usage(stderr, command);
    fprintf(stderr, "'nearcache %s --help' lists the options.\n", command->name);
    return CLI_USAGE;
}

/* ---- parsing --------------------------------------------------------------------------------- */

static bool take_choice(const struct cli_option *option, const char *text)
{
    for (int i = 0; option->choices[i]; i++)
        if (strcmp(option->choices[i], text) == 0) {
            *(int *)option->out = i;
            return true;
        }
    return false;
}

static bool take_number(const struct cli_option *option, const char *text)
{
    uint64_t number;

    if (!(option->kind == CLI_BYTES ? cli_parse_bytes : cli_parse_number)(text, &number))
        return false;
    if (number < option->least || (option->most && number > option->most))
        return false;
    *(uint64_t *)option->out = number;
    return true;
}

/* The one URL of a command line, kept until the program ends: settings point into it. */
static char *url_copy;

static char *take_url(char *text)
{
    free(url_copy);
    url_copy = strdup(text);
    if (url_copy)
        cli_hide_password(text);
    return url_copy;
}

static bool take_value(const struct cli_option *option, char *text)
{
    switch (option->kind) {
    case CLI_FLAG:
        *(bool *)option->out = true;
        return true;
    case CLI_TEXT:
        *(const char **)option->out = text;
        return true;
    case CLI_URL:
        *(const char **)option->out = take_url(text);
        return *(const char **)option->out != NULL;
    case CLI_CHOICE:
        return take_choice(option, text);
    case CLI_NUMBER:
    case CLI_BYTES:
        return take_number(option, text);
    }
    return false;
}

static void explain_bad_value(const struct cli_command *command, const struct cli_option *option,
                              const char *text)
{
    fprintf(stderr, "nearcache %s: --%s %s: ", command->name, option->name, text);
    if (option->kind == CLI_CHOICE) {
        fputs("must be one of", stderr);
        for (int i = 0; option->choices[i]; i++)
            fprintf(stderr, " %s", option->choices[i]);
        fputc('\n', stderr);
    } else if (option->most) {
        fprintf(stderr, "must be a number from %llu to %llu\n", (unsigned long long)option->least,
                (unsigned long long)option->most);
    } else {
        fprintf(stderr, "must be a number of at least %llu\n", (unsigned long long)option->least);
    }
}

static int parse_options(const struct cli_command *command, const struct cli_option *options,
                         size_t count, int argc, char **argv)
{
    struct option table[MOST_OPTIONS + 2] = {{0}};
    int index = 0, found;

    for (size_t i = 0; i < count; i++) {
        table[i].name = options[i].name;
        table[i].has_arg = options[i].kind == CLI_FLAG ? no_argument : required_argument;
    }
    table[count].name = "help";
    table[count].val = 'h';
    optind = 0; /* begin anew, whoever parsed before */
    while ((found = getopt_long(argc, argv, "h", table, &index)) != -1) {
        if (found == 'h') {
            print_help(command, options, count);
            return CLI_FINE;
        }
        if (found != 0)
            return usage_error(command);
        if (!take_value(&options[index], optarg)) {
            explain_bad_value(command, &options[index], optarg);
            return CLI_USAGE;
        }
    }
    return CLI_GO_ON;
}

int cli_options_parse(const struct cli_command *command, const struct cli_option *options,
                      size_t count, int argc, char **argv, int least, int most, char ***arguments)
{
    char program[64];
    char *name = argv[0];
    int outcome;

    assert(count <= MOST_OPTIONS);
    /* getopt_long begins its own messages with argv[0]. */
    snprintf(program, sizeof program, "nearcache %s", command->name);
    argv[0] = program;
    outcome = parse_options(command, options, count, argc, argv);
    argv[0] = name;
    if (outcome != CLI_GO_ON)
        return outcome;
    if (argc - optind < least || argc - optind > most) {
        cli_error(command, argc - optind < least ? "an argument is missing" : "too many arguments");
        return usage_error(command);
    }
    if (arguments)
        *arguments = argv + optind;
    return CLI_GO_ON;
}
