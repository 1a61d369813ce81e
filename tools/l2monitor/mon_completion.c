#include "mon.h"

#include <stdio.h>
#include <string.h>

const char *const mon_completion_words[] = {"bash", NULL};

static const char doc[] = "Print the completion script of a shell: commands and options.\v"
                          "Examples:\n"
                          "  source <(l2monitor completion bash)               for this shell\n"
                          "  l2monitor completion bash > /etc/bash_completion.d/l2monitor";

static error_t parse(int key, char *arg, struct argp_state *state)
{
    switch (key) {
    case ARGP_KEY_ARG:
        if (state->arg_num > 0 || strcmp(arg, "bash") != 0)
            argp_error(state, "%s: only bash is known", arg);
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "which shell? bash");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp mon_completion_argp = {.parser = parse, .args_doc = "bash", .doc = doc};

static void put_options(const struct argp *argp)
{
    for (const struct argp_option *o = argp->options; o != NULL && (o->name != NULL || o->key != 0);
         o++) {
        if (o->name != NULL)
            printf(" --%s", o->name);
    }
    for (const struct argp_child *c = argp->children; c != NULL && c->argp != NULL; c++)
        put_options(c->argp);
}

static void put_words(const char *name, const char *const *words)
{
    printf("        %s) words=\"", name);
    for (unsigned i = 0; words[i] != NULL; i++)
        printf("%s%s", i > 0 ? " " : "", words[i]);
    printf("\" ;;\n");
}

static void put_script(void)
{
    printf("# source <(l2monitor completion bash)\n"
           "_l2monitor() {\n"
           "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words=\"\" "
           "options=\"\"\n"
           "    case $before in\n"
           "        -c|--config|-o|--output|--estimates|-r|--reference|--html|--json)\n"
           "            mapfile -t COMPREPLY < <(compgen -f -- \"$word\"); return ;;\n"
           "    esac\n"
           "    case $COMP_CWORD,${COMP_WORDS[1]} in\n"
           "        1,*) words=\"");
    for (const struct mon_command *c = mon_commands; c->name != NULL; c++)
        printf("%s ", c->name);
    printf("--help --version\" ;;\n    esac\n    [ \"$COMP_CWORD\" = 1 ] || case ${COMP_WORDS[1]} "
           "in\n");
    for (const struct mon_command *c = mon_commands; c->name != NULL; c++)
        put_words(c->name, c->words);
    printf("    esac\n    [ \"$COMP_CWORD\" = 1 ] || case ${COMP_WORDS[1]} in\n");
    for (const struct mon_command *c = mon_commands; c->name != NULL; c++) {
        printf("        %s) options=\"--help", c->name);
        put_options(c->argp);
        printf("\" ;;\n");
    }
    printf("    esac\n"
           "    [[ $word == -* ]] && words=$options\n"
           "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
           "    if [[ ${COMP_WORDS[1]} =~ ^(reference|backtest)$ && $word != -* ]]; then\n"
           "        mapfile -t -O \"${#COMPREPLY[@]}\" COMPREPLY < <(compgen -f -X '!*.avro' -- "
           "\"$word\"; compgen -d -- \"$word\")\n"
           "    fi\n"
           "}\n"
           "complete -o filenames -F _l2monitor l2monitor\n");
}

int mon_completion_main(int argc, char **argv)
{
    if (argp_parse(&mon_completion_argp, argc, argv, 0, NULL, NULL) != 0)
        return MON_USAGE;
    put_script();
    return mon_flush_stdout();
}
