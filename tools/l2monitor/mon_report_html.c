/* The page around the report's JSON, with the series of each crypto in a block of its own, so that
 * the browser parses those that are looked at. */
#include "mon_backtest.h"

#include "mon_page.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS 6 /* of what is drawn */

/* "<" never as it is: no text of the data can end the element, or begin a comment in it. */
static int put_safe(const char *text, size_t n, void *user)
{
    FILE *const out = user;

    for (size_t i = 0; i < n; i++) {
        if (text[i] == '<')
            fputs("\\u003c", out);
        else
            putc(text[i], out);
    }
    return ferror(out) ? -1 : 0;
}

static void open_block(const char *id, FILE *out)
{
    fprintf(out, "<script type=\"application/json\" id=\"%s\">", id);
}

static void close_block(FILE *out)
{
    fputs("</script>\n", out);
}

/* Takes `value` over. false: no memory, or the disk. */
static bool put_block(const char *id, json_t *value, FILE *out)
{
    open_block(id, out);
    const bool is_ok =
        value != NULL && json_dump_callback(value, put_safe, out,
                                            JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY |
                                                JSON_REAL_PRECISION(DIGITS)) == 0;
    close_block(out);
    json_decref(value);
    return is_ok;
}

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

/* The values of the buckets that have any. */
static json_t *pick(const struct mon_findings *f, const struct mon_series *s, const float *values)
{
    json_t *const list = json_array();

    for (unsigned i = 0; values != NULL && i < f->buckets_n; i++) {
        if (!isnan(s->low[i]))
            json_array_append_new(list, number((double)values[i]));
    }
    return list;
}

static json_t *places(const struct mon_findings *f, const struct mon_series *s)
{
    json_t *const list = json_array();

    for (unsigned i = 0; i < f->buckets_n; i++) {
        if (!isnan(s->low[i]))
            json_array_append_new(list, json_integer(i));
    }
    return list;
}

static bool is_one_a_bucket(const struct mon_findings *f, const struct mon_series *s)
{
    for (unsigned i = 0; i < f->buckets_n; i++) {
        if (!isnan(s->low[i]) && s->low[i] < s->high[i])
            return false;
    }
    return true;
}

static json_t *series_of(const struct mon_run *run, const struct mon_series *s,
                         enum qm_signal signal, enum l2_arm arm)
{
    const struct mon_findings *const f = &run->findings;
    json_t *const made = json_pack(
        "{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "signal", run->rows[signal].name, "arm",
        codec_arm_name((enum codec_arm)arm), "at", places(f, s), "low", pick(f, s, s->low),
        "warn_below", number(s->warn_below), "warn_above", number(s->warn_above), "p2_below",
        number(s->p2_below), "p2_above", number(s->p2_above));

    if (made != NULL && !is_one_a_bucket(f, s))
        json_object_set_new(made, "high", pick(f, s, s->high));
    if (made != NULL && s->below != NULL) {
        json_object_set_new(made, "below", pick(f, s, s->below));
        json_object_set_new(made, "above", pick(f, s, s->above));
    }
    return made;
}

static json_t *crypto_of(const struct mon_run *run, uint32_t crypto)
{
    const struct mon_findings *const f = &run->findings;
    json_t *const list = json_array();

    for (enum qm_signal signal = 0; signal < QM_SIGNALS; signal++) {
        for (enum l2_arm arm = 0; arm < L2_ARMS; arm++) {
            const struct mon_series *const s = mon_findings_series(f, crypto, signal, arm);
            if (s != NULL && s->valued_n > 0)
                json_array_append_new(list, series_of(run, s, signal, arm));
        }
    }
    return json_pack("{s:s, s:I, s:I, s:o}", "symbol", qm_core_symbol(run->core, crypto), "from",
                     (json_int_t)(f->from_us / L2_US_PER_S), "step",
                     (json_int_t)(f->bucket_us / L2_US_PER_S), "series", list);
}

/* ---- the cryptos, by their symbols; a run's core numbers them as all runs' do */

struct named {
    const char *symbol;
    uint32_t crypto;
};

static int by_symbol(const void *a, const void *b)
{
    return strcmp(((const struct named *)a)->symbol, ((const struct named *)b)->symbol);
}

static bool put_cryptos(const struct mon_backtest *b, struct named *names, uint32_t n, FILE *out)
{
    json_t *const list = json_array();
    bool is_ok = true;

    for (uint32_t i = 0; i < n; i++) {
        const char *const symbol = qm_core_symbol(b->runs[0].core, i);
        names[i] = (struct named){symbol, i};
    }
    qsort(names, n, sizeof *names, by_symbol);
    for (uint32_t i = 0; i < n; i++)
        json_array_append_new(list, json_string(names[i].symbol));
    is_ok = put_block("cryptos", list, out);
    for (unsigned run = 0; is_ok && run < b->runs_n; run++) {
        for (uint32_t i = 0; is_ok && i < n; i++) {
            char id[64];
            snprintf(id, sizeof id, "series-%u-%u", run, i);
            is_ok = put_block(id, crypto_of(&b->runs[run], names[i].crypto), out);
        }
    }
    return is_ok;
}

bool mon_report_html(const struct mon_backtest *b, FILE *out)
{
    const uint32_t n = qm_core_cryptos(b->runs[0].core);
    struct named *const names = calloc(n + 1, sizeof *names);
    char *const report = mon_report_json(b);
    bool is_ok = names != NULL && report != NULL;

    fputs(mon_page_before, out);
    if (is_ok) {
        open_block("report", out);
        is_ok = put_safe(report, strlen(report), out) == 0;
        close_block(out);
    }
    is_ok = is_ok && put_cryptos(b, names, n, out);
    fputs(mon_page_behind, out);
    free(report);
    free(names);
    return is_ok;
}
