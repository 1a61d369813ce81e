#include "quality/quality.h"

#include "l2/book.h"
#include "l2/psi.h"
#include "l2/sets.h"

#include <jansson.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define REMEDY "make the file anew with 'l2monitor reference'"
#define WHERE_BYTES 112 /* BTCUSDT.features.depth_imbalance_l1.psi_24h */
#define TIME_US_MAX INT64_C(253402300800000000) /* the year 10000 */

/* Where we are, for messages. The first error is kept, and makes every later step do nothing. */
struct in {
    const char *name;
    char where[WHERE_BYTES]; /* with a point at its end, or empty */
    struct err *err;
    enum err_class class;
    const char *remedy;
};

static bool is_bad(const struct in *in)
{
    return in->class != ERR_OK;
}

static void refuse(struct in *in, const char *key, const char *what)
{
    if (!is_bad(in))
        in->class = err_set(in->err, ERR_REJECT, "%.60s: %s%.40s: %s: %s", in->name, in->where, key,
                            what, in->remedy);
}

static void refuse_number(struct in *in, const char *key, double x, double low, double high)
{
    char what[96];

    snprintf(what, sizeof what, "%.9g is not within %.9g and %.9g", x, low, high);
    refuse(in, key, what);
}

static size_t enter(struct in *in, const char *name)
{
    const size_t n = strlen(in->where);

    snprintf(in->where + n, sizeof in->where - n, "%s.", name);
    return n;
}

static void leave(struct in *in, size_t n)
{
    in->where[n] = '\0';
}

/* NULL, and refused, when it is not there or no object. */
static const json_t *object(struct in *in, const json_t *from, const char *key)
{
    const json_t *const o = json_object_get(from, key);

    if (is_bad(in))
        return NULL;
    if (!json_is_object(o))
        refuse(in, key, o == NULL ? "missing" : "not an object");
    return json_is_object(o) ? o : NULL;
}

/* Refuses what is none of the names, each with blanks around it. */
static void only(struct in *in, const json_t *o, const char *names)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)o, key, value)
    {
        char wanted[L2_SYMBOL_BYTES_MAX + 3];
        const bool is_name = l2_symbol_ok(key, strlen(key)); /* fit to be shown, too */
        snprintf(wanted, sizeof wanted, " %.32s ", key);
        if (!is_name || strstr(names, wanted) == NULL)
            refuse(in, is_name ? key : "a field", "not a field of this format");
    }
}

static double number(struct in *in, const json_t *from, const char *key, double low, double high)
{
    const json_t *const v = json_object_get(from, key);
    const double x = json_number_value(v);

    if (!json_is_number(v))
        refuse(in, key, v == NULL ? "missing" : "not a number");
    else if (!(x >= low && x <= high))
        refuse_number(in, key, x, low, high);
    return x;
}

static int64_t integer(struct in *in, const json_t *from, const char *key, int64_t low,
                       int64_t high)
{
    const json_t *const v = json_object_get(from, key);
    const json_int_t x = json_integer_value(v);

    if (!json_is_integer(v))
        refuse(in, key, v == NULL ? "missing" : "not a whole number");
    else if (x < low || x > high)
        refuse_number(in, key, (double)x, (double)low, (double)high);
    return x;
}

static void text(struct in *in, const json_t *from, const char *key, char *ret, size_t room)
{
    const json_t *const v = json_object_get(from, key);

    if (!json_is_string(v))
        refuse(in, key, v == NULL ? "missing" : "not a string");
    else if (json_string_length(v) >= room || strlen(json_string_value(v)) >= room)
        refuse(in, key, "too long");
    else
        memcpy(ret, json_string_value(v), json_string_length(v) + 1);
}

/* 1 to `most` numbers; returns how many. */
static uint32_t list(struct in *in, const json_t *from, const char *key, double *ret, uint32_t low,
                     uint32_t high)
{
    const json_t *const v = json_object_get(from, key);
    const size_t n = json_array_size(v);

    if (!json_is_array(v)) {
        refuse(in, key, v == NULL ? "missing" : "not a list");
        return 0;
    }
    if (n < low || n > high) {
        refuse_number(in, key, (double)n, low, high);
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        if (!json_is_number(json_array_get(v, i)))
            refuse(in, key, "not all of it numbers");
        ret[i] = json_number_value(json_array_get(v, i));
    }
    return (uint32_t)n;
}

static void window(struct in *in, const json_t *from, int64_t *ret_from_us, int64_t *ret_to_us)
{
    const json_t *const o = object(in, from, "training");
    const size_t n = enter(in, "training");

    if (o != NULL) {
        only(in, o, " from to ");
        *ret_from_us = integer(in, o, "from", -TIME_US_MAX, TIME_US_MAX);
        *ret_to_us = integer(in, o, "to", -TIME_US_MAX, TIME_US_MAX);
        if (!is_bad(in) && *ret_from_us >= *ret_to_us)
            refuse(in, "to", "not after from");
    }
    leave(in, n);
}

static void thresholds(struct in *in, const json_t *from, const char *key, double *ret_warn,
                       double *ret_p2)
{
    const json_t *const o = object(in, from, key);
    const size_t n = enter(in, key);

    if (o != NULL) {
        only(in, o, " warn p2 ");
        *ret_warn = number(in, o, "warn", L2_PSI_WARN, DBL_MAX);
        *ret_p2 = number(in, o, "p2", L2_PSI_P2, DBL_MAX);
    }
    leave(in, n);
}

static void distribution(struct in *in, const json_t *o, int column, struct l2_reference_feature *f)
{
    double range[2] = {0};
    const double high = column == L2_SPREAD_BPS ? L2_RANGE_SPREAD_BPS_MAX : DBL_MAX;

    (void)list(in, o, "range", range, 2, 2);
    if (!is_bad(in) && !(range[0] >= -DBL_MAX && range[0] <= range[1] && range[1] <= high))
        refuse(in, "range", "not [low, high] within the allowed");
    f->low = range[0];
    f->high = range[1];
    const uint32_t edges = list(in, o, "edges", f->bins.edge, 0, L2_PSI_BINS_MAX - 1);
    f->bins.n = list(in, o, "shares", f->bins.share, 1, L2_PSI_BINS_MAX);
    if (!is_bad(in) && f->bins.n != edges + 1)
        refuse(in, "shares", "not one more than edges");
    else if (!is_bad(in) && !l2_psi_bins_valid(&f->bins))
        refuse(in, "edges", "they do not rise, or the shares are not of 1");
    thresholds(in, o, "psi_24h", &f->psi_24h_warn, &f->psi_24h_p2);
    thresholds(in, o, "psi_30d", &f->psi_30d_warn, &f->psi_30d_p2);
}

static void feature(struct in *in, const json_t *features, int column,
                    struct l2_reference_feature *f)
{
    const json_t *const o = object(in, features, l2_column_names[column]);
    const size_t n = enter(in, l2_column_names[column]);

    if (o != NULL) {
        f->n = (uint32_t)integer(in, o, "n", 0, UINT32_MAX);
        f->null_share = number(in, o, "null_share", 0, 1);
        only(in, o,
             f->n == 0                ? " n null_share "
             : column == L2_MID_PRICE ? " n null_share mean sd "
                                      : " n null_share mean sd range edges shares psi_24h "
                                        "psi_30d ");
        if (f->n > 0) {
            f->mean = number(in, o, "mean", -DBL_MAX, DBL_MAX);
            f->sd = number(in, o, "sd", 0, DBL_MAX);
        }
        if (f->n > 0 && column != L2_MID_PRICE)
            distribution(in, o, column, f);
    }
    leave(in, n);
}

static void estimate(struct in *in, const json_t *from, const char *key, struct l2_estimate *ret)
{
    if (json_object_get(from, key) == NULL)
        return;
    const json_t *const o = object(in, from, key);
    const size_t n = enter(in, key);

    if (o != NULL) {
        only(in, o, " value low high ");
        ret->known = true;
        ret->value = number(in, o, "value", 0, 1);
        ret->low = number(in, o, "low", 0, 1);
        ret->high = number(in, o, "high", ret->low, 1);
    }
    leave(in, n);
}

static void crypto(struct in *in, const json_t *o, const struct quality_file *file,
                   struct l2_reference *r)
{
    memcpy(r->exchange, file->exchange, sizeof r->exchange);
    memcpy(r->version, file->version, sizeof r->version);
    r->bar_s = file->bar_s;
    only(in, o, " training snapshots_median f1_buy agreement blind_f1_buy features ");
    window(in, o, &r->from_us, &r->to_us);
    if (!is_bad(in) && (r->from_us < file->from_us || r->to_us > file->to_us))
        refuse(in, "training", "outside of the file's");
    r->snapshots_median = number(in, o, "snapshots_median", 0, DBL_MAX);
    estimate(in, o, "f1_buy", &r->f1_buy);
    estimate(in, o, "agreement", &r->agreement);
    estimate(in, o, "blind_f1_buy", &r->blind_f1_buy);
    const json_t *const features = object(in, o, "features");
    const size_t n = enter(in, "features");
    for (int c = 0; features != NULL && c < L2_COLUMNS; c++)
        feature(in, features, c, &r->feature[c]);
    if (!is_bad(in) && json_object_size(features) != L2_COLUMNS)
        refuse(in, "*", "a feature that is none of ours");
    leave(in, n);
}

static int by_symbol(const void *a, const void *b)
{
    return strcmp(((const struct l2_reference *)a)->symbol,
                  ((const struct l2_reference *)b)->symbol);
}

static void cryptos(struct in *in, const json_t *all, struct quality_file *file)
{
    const size_t n = json_object_size(all);
    const char *symbol;
    json_t *o;

    if (n < 1 || n > QUALITY_CRYPTOS_MAX) {
        refuse_number(in, "cryptos", (double)n, 1, QUALITY_CRYPTOS_MAX);
        return;
    }
    file->crypto = calloc(n, sizeof *file->crypto);
    if (file->crypto == NULL) {
        in->class = err_set(in->err, ERR_FATAL, "out of memory");
        return;
    }
    json_object_foreach((json_t *)all, symbol, o)
    {
        struct l2_reference *const r = &file->crypto[file->cryptos_n++];
        if (!l2_symbol_ok(symbol, strlen(symbol)))
            refuse(in, "cryptos", "a symbol that is not [A-Za-z0-9._-]{1,32}");
        else if (!json_is_object(o))
            refuse(in, symbol, "not an object");
        if (is_bad(in))
            return;
        snprintf(r->symbol, sizeof r->symbol, "%s", symbol);
        const size_t where = enter(in, symbol);
        crypto(in, o, file, r);
        leave(in, where);
    }
    qsort(file->crypto, file->cryptos_n, sizeof *file->crypto, by_symbol);
}

static void whole(struct in *in, const json_t *root, struct quality_file *file)
{
    if (!json_is_object(root)) {
        refuse(in, "the file", "not a JSON object");
        return;
    }
    (void)integer(in, root, "format", QUALITY_FORMAT, QUALITY_FORMAT);
    only(in, root, " format version exchange bar_seconds training cryptos ");
    text(in, root, "version", file->version, sizeof file->version);
    if (!is_bad(in) && !quality_version_ok(file->version))
        refuse(in, "version", "not [A-Za-z0-9._:+-]{1,64}");
    text(in, root, "exchange", file->exchange, sizeof file->exchange);
    if (!is_bad(in) && !l2_symbol_ok(file->exchange, strlen(file->exchange)))
        refuse(in, "exchange", "not [A-Za-z0-9._-]{1,32}");
    file->bar_s = (uint32_t)integer(in, root, "bar_seconds", 60, 86400);
    if (!is_bad(in) && (86400 % file->bar_s != 0 || file->bar_s % 60 != 0))
        refuse(in, "bar_seconds", "not whole minutes of which a day has a whole number");
    window(in, root, &file->from_us, &file->to_us);
    const json_t *const all = object(in, root, "cryptos");
    if (all != NULL)
        cryptos(in, all, file);
}

bool quality_version_ok(const char *version)
{
    const size_t n = strlen(version);

    return n >= 1 && n <= L2_REFERENCE_VERSION_BYTES_MAX &&
           strspn(version, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:+-") ==
               n;
}

/* NULL, and err says why. */
static json_t *load(const char *json, size_t n, const char *name, struct err *err)
{
    json_error_t why;

    if (n > QUALITY_FILE_BYTES_MAX) {
        err_set(err, ERR_REJECT, "%.60s: more than %d MiB: this is no reference", name,
                QUALITY_FILE_BYTES_MAX >> 20);
        return NULL;
    }
    json_t *const root = json_loadb(json, n, JSON_REJECT_DUPLICATES, &why);
    if (root == NULL)
        err_set(err, ERR_REJECT, "%.60s: line %d: %s", name, why.line, why.text);
    return root;
}

enum err_class quality_parse(const char *json, size_t n, const char *name,
                             struct quality_file *ret_file, struct err *err)
{
    struct in in = {.name = name, .err = err, .class = ERR_OK, .remedy = REMEDY};
    struct quality_file file = {.cryptos_n = 0};
    json_t *const root = load(json, n, name, err);

    if (root == NULL)
        return err->class;
    whole(&in, root, &file);
    json_decref(root);
    if (is_bad(&in)) {
        quality_free(&file);
        return in.class;
    }
    *ret_file = file;
    return ERR_OK;
}

static void estimates(struct in *in, const json_t *root, struct quality_file *file)
{
    const char *symbol;
    json_t *o;

    if (!json_is_object(root))
        refuse(in, "the file", "not a JSON object");
    json_object_foreach((json_t *)root, symbol, o)
    {
        /* const is the caller's view of what the file owns */
        struct l2_reference *const r = (struct l2_reference *)quality_find(file, symbol);
        if (r == NULL || !json_is_object(o)) {
            refuse(in, r == NULL ? "a symbol" : r->symbol,
                   r == NULL ? "there are no bars of it" : "not an object");
            return;
        }
        const size_t where = enter(in, symbol);
        only(in, o, " f1_buy agreement blind_f1_buy ");
        estimate(in, o, "f1_buy", &r->f1_buy);
        estimate(in, o, "agreement", &r->agreement);
        estimate(in, o, "blind_f1_buy", &r->blind_f1_buy);
        leave(in, where);
    }
}

enum err_class quality_parse_estimates(const char *json, size_t n, const char *name,
                                       struct quality_file *file, struct err *err)
{
    struct in in = {.name = name,
                    .err = err,
                    .class = ERR_OK,
                    .remedy = "'l2monitor reference --help' shows the fields"};
    json_t *const root = load(json, n, name, err);

    if (root == NULL)
        return err->class;
    estimates(&in, root, file);
    json_decref(root);
    return in.class;
}
