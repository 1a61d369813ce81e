/*
 * qm_probe: the quality monitor's core on events from stdin, so that Python can hold every signal,
 * outcome and change of state against a batch over whole histories. Doubles with 17 digits, "null"
 * for none; columns in the order in which they are stored everywhere.
 *
 *   qm_probe REFERENCE|- BAR_SECONDS PURGE_BARS SET [CRYPTOS_MAX]
 *
 *   b SYMBOL BAR_TIME SNAPSHOTS SKETCH C0 … C5                          a bar; the sketch in hex or
 * - f SYMBOL BAR_TIME SOURCE_BAR_TIME C0 … C5                           a feature record p SYMBOL
 * BAR_TIME ARM DECISION EXECUTED FRESHNESS NAN_RATE HORIZON SPAN WIDTH REASON VERSION c SYMBOL
 * BAR_TIME CLOSE                                             a candle l SYMBOL FRESHNESS NOW the
 * live freshness r SYMBOL CLEARED_THROUGH NOW                                        a rollout's
 * word on latches es SYMBOL SIGNAL ARM BAR_TIME                                       recalled:
 * that is out eo SYMBOL ARM BAR_TIME
 *
 * Answers, as they come out, and after each event "= 1", or "= 0" where it was not folded:
 *
 *   S SYMBOL SIGNAL ARM BAR_TIME VALUE LOW HIGH N WINDOW WARN_BELOW WARN_ABOVE P2_BELOW P2_ABOVE
 *     OBSERVED STATE MEASURABLE_FROM REFERENCE_VERSION
 *   O SYMBOL ARM BAR DECISION EXECUTED VERSION LABEL BARRIER EXIT_BAR ENTRY EXIT BPS HORIZON SPAN
 *     WIDTH
 *   T SYMBOL SIGNAL ARM PREVIOUS STATE SINCE STARTED VALUE THRESHOLD N
 *
 * Ends where an event allocates, but for a crypto that is seen for the first time; sorting by the C
 * library is taken for it, since it does so from 1 KiB on. Seen to fail with qsort in tell_delta,
 * and with a calloc in qm_on_bar.
 */
#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/qm_core.h"
#include "failing_alloc.h"
#include "quality/quality.h"

#define SKETCH_BYTES_MAX 8192

static struct qm_core *core;
static uint8_t sketch[SKETCH_BYTES_MAX];
static bool is_folding;

void __real_qsort(void *x, size_t n, size_t size, int (*compare)(const void *, const void *));
void __wrap_qsort(void *x, size_t n, size_t size, int (*compare)(const void *, const void *));
void __wrap_qsort(void *x, size_t n, size_t size, int (*compare)(const void *, const void *))
{
    assert(!is_folding);
    __real_qsort(x, n, size, compare);
}

/* ---- the words of a line ---- */

static char *rest;

static const char *word(void)
{
    rest += strspn(rest, " \n");
    char *const begin = rest;

    rest += strcspn(rest, " \n");
    if (*rest != '\0')
        *rest++ = '\0';
    assert(*begin != '\0');
    return begin;
}

static int64_t whole(void)
{
    return strtoll(word(), NULL, 10);
}

static bool number(double *ret)
{
    const char *const text = word();

    *ret = 0;
    if (strcmp(text, "null") == 0)
        return false;
    *ret = strtod(text, NULL);
    return true;
}

static void row(struct l2_row *to)
{
    for (enum l2_column column = 0; column < L2_COLUMNS; column++) {
        double x;
        if (number(&x))
            l2_row_set(to, column, x);
    }
}

static size_t bytes(void)
{
    const char *const text = word();
    const size_t n = strcmp(text, "-") == 0 ? 0 : strlen(text) / 2;

    assert(n <= sizeof sketch);
    for (size_t i = 0; i < n; i++) {
        const char two[3] = {text[2 * i], text[2 * i + 1], '\0'};
        sketch[i] = (uint8_t)strtoul(two, NULL, 16);
    }
    return n;
}

/* ---- what comes out ---- */

static void put(double x)
{
    if (isnan(x))
        printf(" null");
    else
        printf(" %.17g", x);
}

static void on_signal(void *user, const char *symbol, const struct qm_signal_out *o)
{
    const char *const version = qm_core_reference_version(core, symbol);

    (void)user;
    printf("S %s %s %d %" PRId64, symbol, qm_rows[o->signal].name, (int)o->arm, o->bar_time_us);
    put(o->has_value ? o->value : NAN);
    put(o->has_interval ? o->low : NAN);
    put(o->has_interval ? o->high : NAN);
    printf(" %" PRId64 " %" PRId64, o->n, o->window_s);
    put(o->warn_below);
    put(o->warn_above);
    put(o->p2_below);
    put(o->p2_above);
    printf(" %s %s ", alert_state_name(o->observed), alert_state_name(o->state));
    if (o->has_measurable_from)
        printf("%" PRId64, o->measurable_from_us);
    else
        printf("null");
    printf(" %s\n", version == NULL ? "-" : version);
}

static void on_outcome(void *user, const char *symbol, const struct qm_outcome_out *o)
{
    (void)user;
    printf("O %s %d %" PRId64 " %d %d %s %d %d %" PRId64, symbol, (int)o->arm, o->label.bar,
           (int)o->decision, o->executed, o->model_version, (int)o->label.label,
           (int)o->label.barrier, o->label.exit_bar);
    put(o->label.entry_price);
    put(o->label.exit_price);
    put(o->label.return_bps);
    printf(" %u %u", o->params.horizon_bars, o->params.span_bars);
    put(o->params.width);
    printf("\n");
}

static void on_transition(void *user, const char *symbol, const struct qm_transition *t)
{
    (void)user;
    printf("T %s %s %d %s %s %" PRId64 " %" PRId64, symbol, qm_rows[t->signal].name, (int)t->arm,
           alert_state_name(t->previous), alert_state_name(t->state), t->since_us, t->started_us);
    put(t->has_value ? t->value : NAN);
    put(t->threshold);
    printf(" %" PRId64 "\n", t->n);
}

/* ---- events ---- */

static bool fold_bar(const char *symbol)
{
    struct qm_bar bar = {.bar_time_us = whole(), .sketch = sketch};

    bar.snapshots = (uint32_t)whole();
    bar.sketch_n = bytes();
    row(&bar.row);
    return qm_core_bar(core, symbol, &bar);
}

static bool fold_feature(const char *symbol)
{
    struct qm_feature f = {.bar_time_us = whole()};

    f.source_bar_time_us = whole();
    row(&f.row);
    return qm_core_feature(core, symbol, &f);
}

static bool fold_prediction(const char *symbol)
{
    struct qm_prediction p = {.bar_time_us = whole()};
    double horizon, span;

    p.arm = (enum l2_arm)whole();
    p.decision = (enum l2_class)whole();
    p.executed = whole() != 0;
    p.has_freshness = number(&p.freshness_s);
    p.has_nan_rate = number(&p.nan_rate);
    p.has_label = number(&horizon);
    (void)number(&span);
    (void)number(&p.label.width);
    p.label.horizon_bars = (uint32_t)horizon;
    p.label.span_bars = (uint32_t)span;
    p.reason = (enum l2_route_reason)whole();
    (void)snprintf(p.model_version, sizeof p.model_version, "%s", word());
    return qm_core_prediction(core, symbol, &p);
}

static bool fold_candle(const char *symbol)
{
    struct qm_candle candle = {.bar_time_us = whole()};

    (void)number(&candle.close);
    return qm_core_candle(core, symbol, &candle);
}

static bool fold_freshness(const char *symbol)
{
    double freshness_s;

    (void)number(&freshness_s);
    return qm_core_freshness(core, symbol, freshness_s, whole());
}

static bool fold_rollout(const char *symbol)
{
    struct qm_rollout rollout = {.cleared_through_us = whole()};

    rollout.time_us = whole();
    return qm_core_rollout(core, symbol, &rollout);
}

static enum qm_signal signal_of(const char *name)
{
    enum qm_signal signal = 0;

    while (signal < QM_SIGNALS && strcmp(qm_rows[signal].name, name) != 0)
        signal++;
    assert(signal < QM_SIGNALS);
    return signal;
}

static bool recall_signal(const char *symbol)
{
    const enum qm_signal signal = signal_of(word());
    const enum l2_arm arm = (enum l2_arm)whole();

    qm_core_emitted_signal(core, symbol, signal, arm, whole());
    return true;
}

static bool recall_outcome(const char *symbol)
{
    const enum l2_arm arm = (enum l2_arm)whole();

    qm_core_emitted_outcome(core, symbol, arm, whole());
    return true;
}

static bool fold(const char *what, const char *symbol)
{
    static const struct {
        const char *name;
        bool (*fold)(const char *symbol);
    } kinds[] = {
        {"b", fold_bar},       {"f", fold_feature}, {"p", fold_prediction}, {"c", fold_candle},
        {"l", fold_freshness}, {"r", fold_rollout}, {"es", recall_signal},  {"eo", recall_outcome},
    };
    const unsigned n = sizeof kinds / sizeof kinds[0];
    unsigned i = 0;

    while (i < n && strcmp(kinds[i].name, what) != 0)
        i++;
    assert(i < n);
    return kinds[i].fold(symbol);
}

/* failing_alloc_in counts down from where no test will get: it is left alone. */
static bool fold_without_allocating(const char *what, const char *symbol)
{
    const unsigned before = qm_core_cryptos(core);

    is_folding = true;
    failing_alloc_in = INT_MAX;
    const bool folded = fold(what, symbol);
    assert(failing_alloc_in == INT_MAX - (int)(qm_core_cryptos(core) - before));
    failing_alloc_in = 0;
    is_folding = false;
    return folded;
}

int main(int argc, char **argv)
{
    struct quality_file file = {.cryptos_n = 0};
    struct err err;
    char *line = NULL;
    size_t room = 0;

    assert(argc == 5 || argc == 6);
    if (strcmp(argv[1], "-") != 0 && quality_read(argv[1], &file, &err) != ERR_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    struct qm_options options = {
        .bar_s = (uint32_t)strtoul(argv[2], NULL, 10),
        .purge_bars = (uint32_t)strtoul(argv[3], NULL, 10),
        .cryptos_max = argc == 6 ? (unsigned)strtoul(argv[5], NULL, 10) : 64,
        .references = file.crypto,
        .references_n = file.cryptos_n,
        .sink = {.signal = on_signal, .outcome = on_outcome, .transition = on_transition},
    };

    if (!l2_set_parse(argv[4], &options.set))
        return 1;
    core = qm_core_new(&options);
    assert(core != NULL);
    while (getline(&line, &room, stdin) > 0) {
        rest = line;
        const char *const what = word();
        const char *const symbol = word();
        printf("= %d\n", fold_without_allocating(what, symbol));
    }
    free(line);
    qm_core_free(core);
    quality_free(&file);
    return 0;
}
