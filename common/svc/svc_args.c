#include "svc/svc_internal.h"

#include <assert.h>
#include <stdlib.h>

enum {
    KEY_CHECK_CONFIG = 0x10000,
    KEY_PRINT_CONFIG,
    KEY_PRINT_CONFIG_MARKDOWN,
    KEY_PRINT_METRICS,
};

static const struct argp_option options[] = {
    {"config", 'c', "FILE", 0, "Read the configuration from FILE (key = value lines)", 0},
    {"check-config", KEY_CHECK_CONFIG, NULL, 0, "Check the configuration, say ok or what is wrong",
     0},
    {"print-config", KEY_PRINT_CONFIG, NULL, 0,
     "Print the configuration in effect, as lines that --config reads; secrets as their file", 0},
    {"print-config-markdown", KEY_PRINT_CONFIG_MARKDOWN, NULL, OPTION_HIDDEN, NULL, 0},
    {"print-metrics", KEY_PRINT_METRICS, NULL, OPTION_HIDDEN, NULL, 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static const char exit_codes[] =
    "Exit codes:\n"
    "  0    drained: SIGTERM, SIGINT, the work is done or the rehearsal is over\n"
    "  64   wrong usage\n"
    "  65   records of an input file were refused; the others are stored\n"
    "  66   an input file is missing or unreadable\n"
    "  69   a server cannot be reached at start\n"
    "  70   internal error: please report it\n"
    "  73   an output folder or file cannot be made\n"
    "  75   temporary failure: start it again\n"
    "  78   the configuration is at fault; nothing was started\n"
    "  130  a signal cut an import short, or a second one the drain\n";

static const char *version_name; /* argp's hook has no argument of ours */

static void print_version(FILE *out, struct argp_state *state)
{
    (void)state;
    fprintf(out, "%s %s\n", version_name, L2FLOW_VERSION);
}

static error_t parse_own(int key, char *arg, struct argp_state *state)
{
    struct svc *svc = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        if (state->child_inputs != NULL)
            state->child_inputs[0] = svc;
        return 0;
    case 'c':
        svc->config_file = arg;
        return 0;
    case KEY_CHECK_CONFIG:
        svc->mode = SVC_CHECK_CONFIG;
        return 0;
    case KEY_PRINT_CONFIG:
        svc->mode = SVC_PRINT_CONFIG;
        return 0;
    case KEY_PRINT_CONFIG_MARKDOWN:
        svc->mode = SVC_PRINT_CONFIG_MARKDOWN;
        return 0;
    case KEY_PRINT_METRICS:
        svc->mode = SVC_PRINT_METRICS;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_service(int key, char *arg, struct argp_state *state)
{
    const struct svc *svc = state->input;

    if (svc == NULL || svc->desc->parse == NULL)
        return ARGP_ERR_UNKNOWN;
    return svc->desc->parse(key, arg, state, svc->desc->options_state);
}

/* Everything that --help says beside the options: argp wants it as one string, '\v' between the
 * halves. */
static char *make_doc(const struct svc *svc)
{
    char *doc = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&doc, &n);

    assert(out != NULL);
    fprintf(out, "%s\v", svc->desc->summary);
    fputs("Configuration: key = value lines of the --config file. The environment\n"
          "variable L2_<KEY>, in capitals and with _ for a dot, overrides a key; a key in\n"
          "capitals is its own variable. Each key with its default (and bounds):\n\n",
          out);
    config_help(svc->rows, out);
    fprintf(out, "\nHTTP, on the listen address: /healthz /readyz /metrics\n\n%s", exit_codes);
    if (svc->desc->footer != NULL)
        fprintf(out, "\n%s", svc->desc->footer);
    const int rc = fclose(out);

    assert(rc == 0);
    return doc;
}

void svc_parse_args(struct svc *svc, int argc, char **argv)
{
    const struct argp service = {svc->desc->options, parse_service, NULL, NULL, NULL, NULL, NULL};
    const struct argp_child children[] = {{&service, 0, NULL, 0}, {NULL, 0, NULL, 0}};
    char *doc = make_doc(svc);
    const struct argp argp = {options, parse_own, NULL, doc, children, NULL, NULL};

    version_name = svc->desc->name;
    argp_program_version_hook = print_version;
    const error_t e = argp_parse(&argp, argc, argv, 0, NULL, svc);

    if (e != 0) { /* a parser's own errno: argp has said nothing yet */
        fprintf(stderr, "%s: the command line: error %d: see --help\n", svc->desc->name, e);
        exit(argp_err_exit_status);
    }
    free(doc);
}
