/* l2monitor: what a researcher or an operator asks of the quality monitor before it is armed. A new
 * command is a row here and a file mon_NAME.c. */
#include "mon.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_BYTES 64

const struct mon_command mon_commands[] = {
    {"reference", "stored bars → l2_quality_reference.json", &mon_reference_argp,
     mon_reference_words, mon_reference_main},
    {"backtest", "what the monitor would have said of a stored history", &mon_backtest_argp,
     mon_backtest_words, mon_backtest_main},
    {"completion", "print the shell's completion script", &mon_completion_argp,
     mon_completion_words, mon_completion_main},
    {.name = NULL},
};

static const char doc[] =
    "What the quality monitor measures against, made and tried before it is armed.\v"
    "Examples:\n"
    "  l2monitor reference l2_bars.avro --output l2_quality_reference.json\n"
    "  l2monitor reference postgres -c reader.conf --from 2026-01-01 --to 2026-07-01\n"
    "  l2monitor backtest l2_bars.avro --reference l2_quality_reference.json --html report.html\n"
    "  source <(l2monitor completion bash)\n\n"
    "'l2monitor COMMAND --help' tells more.\n\n" MON_EXITS_HELP;

/* The overview of commands, from their table, before the options. */
static char *overview(int key, const char *text, void *input)
{
    (void)input;
    char *made = NULL;
    size_t made_n;

    if (key != ARGP_KEY_HELP_PRE_DOC)
        return (char *)text;
    FILE *const out = open_memstream(&made, &made_n);
    if (out == NULL)
        return (char *)text;
    fprintf(out, "%s\n\nCommands:\n", text);
    for (const struct mon_command *c = mon_commands; c->name != NULL; c++)
        fprintf(out, "  %-12s%s\n", c->name, c->summary);
    fclose(out);
    return made; /* argp frees it */
}

static const struct mon_command *find(const char *name)
{
    for (const struct mon_command *c = mon_commands; c->name != NULL; c++) {
        if (strcmp(c->name, name) == 0)
            return c;
    }
    return NULL;
}

struct choice {
    const struct mon_command *command;
    int argc;
    char **argv; /* [0] is the command's name */
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct choice *const choice = state->input;

    switch (key) {
    case ARGP_KEY_ARG:
        choice->command = find(arg);
        if (choice->command == NULL)
            argp_error(state, "no such command: %s", arg);
        choice->argc = state->argc - state->next + 1;
        choice->argv = &state->argv[state->next - 1];
        state->next = state->argc;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_state_help(state, stderr, ARGP_HELP_SHORT_USAGE | ARGP_HELP_LONG | ARGP_HELP_DOC);
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void version(FILE *out, struct argp_state *state)
{
    (void)state;
    fprintf(out, "l2monitor %s\n", L2FLOW_VERSION);
}

int main(int argc, char **argv)
{
    const struct argp argp = {
        .parser = parse, .args_doc = "COMMAND [OPTION...]", .doc = doc, .help_filter = overview};
    struct choice choice = {0};
    char name[NAME_BYTES];

    argp_err_exit_status = MON_USAGE;
    argp_program_version_hook = version;
    if (argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &choice) != 0 || choice.command == NULL)
        return MON_USAGE;
    snprintf(name, sizeof name, "l2monitor %s", choice.command->name);
    choice.argv[0] = name; /* argp's usage line and errors */
    return choice.command->main(choice.argc, choice.argv);
}
