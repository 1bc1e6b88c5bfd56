/* cli/main: the table of subcommands. */
#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct cli_command *const commands[] = {
    &cli_cmd_check, &cli_cmd_shell, &cli_cmd_stats,  &cli_cmd_metrics, &cli_cmd_replay,
    &cli_cmd_bench, &cli_cmd_load,  &cli_cmd_export, &cli_cmd_queue,
};

#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static void print_help(FILE *out)
{
    fputs("usage: nearcache COMMAND [OPTIONS] [ARGUMENTS]\n"
          "       nearcache --help | --version\n\n"
          "commands:\n",
          out);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-9s %s\n", commands[i]->name, commands[i]->summary);
    fputs("\n'nearcache COMMAND --help' lists the options of a command. Redis is named by --redis\n"
          "URL, by a file given with --config, or by REDIS_URL, REDIS_HOST, REDIS_PORT,\n"
          "REDIS_PASSWORD and REDIS_DB. Keep passwords in the file or in the environment.\n\n"
          "exit status: 0 fine, 1 something wrong or partial, 2 usage, 3 Redis unreachable,\n"
          "130 interrupted.\n",
          out);
}

static const struct cli_command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

/* What was printed and did not get out makes a fine outcome a wrong one. */
static int finish(int outcome)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return outcome;
    fprintf(stderr, "nearcache: cannot write to standard output: %s\n", strerror(errno));
    return outcome == CLI_FINE ? CLI_WRONG : outcome;
}

int main(int argc, char **argv)
{
    const struct cli_command *command;

    if (argc < 2) {
        print_help(stderr);
        return CLI_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        (strcmp(argv[1], "help") == 0 && argc == 2)) {
        print_help(stdout);
        return finish(CLI_FINE);
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        printf("nearcache %s\n", nearcache_version());
        return finish(CLI_FINE);
    }
    command = find_command(argv[1]);
    if (!command) {
        fprintf(stderr, "nearcache: no command '%s'; see 'nearcache --help'\n", argv[1]);
        return CLI_USAGE;
    }
    cli_catch_interrupts();
    return finish(command->run(command, argc - 1, argv + 1));
}
