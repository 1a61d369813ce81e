/* l2ctl: what an operator types. A new command is a row here and a file ctl_NAME.c. */
#include "ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_BYTES 64

const struct ctl_command ctl_commands[] = {
    {"topics", "plan, apply or check the topics' partitions and settings", &ctl_topics_argp,
     ctl_topics_words, ctl_topics_main},
    {"acls", "plan, apply or check what each service's Kafka user may do", &ctl_acls_argp,
     ctl_acls_words, ctl_acls_main},
    {"tail", "show the records of a topic or of an Avro file", &ctl_tail_argp, ctl_tail_words,
     ctl_tail_main},
    {"db", "migrate PostgreSQL's tables, or tell where they are", &ctl_db_argp, ctl_db_words,
     ctl_db_main},
    {"completion", "print the shell's completion script", &ctl_completion_argp,
     ctl_completion_words, ctl_completion_main},
    {.name = NULL},
};

static const char doc[] =
    "Operate l2flow from a terminal.\v"
    "Examples:\n"
    "  l2ctl topics plan                      what would change on 127.0.0.1:9092\n"
    "  l2ctl topics apply --partitions 6\n"
    "  l2ctl tail l2.features -f -s BTCUSDT   new records, as they come\n"
    "  l2ctl tail l2_bars.avro -o csv\n"
    "  source <(l2ctl completion bash)\n\n"
    "'l2ctl COMMAND --help' tells more.\n\n" CTL_EXITS_HELP;

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
    for (const struct ctl_command *c = ctl_commands; c->name != NULL; c++)
        fprintf(out, "  %-12s%s\n", c->name, c->summary);
    fclose(out);
    return made; /* argp frees it */
}

static const struct ctl_command *find(const char *name)
{
    for (const struct ctl_command *c = ctl_commands; c->name != NULL; c++) {
        if (strcmp(c->name, name) == 0)
            return c;
    }
    return NULL;
}

struct choice {
    const struct ctl_command *command;
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
    fprintf(out, "l2ctl %s (%s)\n", L2FLOW_VERSION, bus_version());
}

int main(int argc, char **argv)
{
    const struct argp argp = {
        .parser = parse, .args_doc = "COMMAND [OPTION...]", .doc = doc, .help_filter = overview};
    struct choice choice = {0};
    char name[NAME_BYTES];

    argp_err_exit_status = CTL_USAGE;
    argp_program_version_hook = version;
    if (argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &choice) != 0 || choice.command == NULL)
        return CTL_USAGE;
    snprintf(name, sizeof name, "l2ctl %s", choice.command->name);
    choice.argv[0] = name; /* argp's usage line and errors */
    return choice.command->main(choice.argc, choice.argv);
}
