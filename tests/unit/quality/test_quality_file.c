/* l2_quality_reference.json: printed and read back it is the same to the bit, and whatever is wrong
 * with a file is named. Seen to fail: 16 digits for 17; "-0" for "-0.0"; a threshold of 0.1
 * refused; cryptos not sorted; a field of no format passed over; the shares' sum not looked at; a
 * device or link replaced. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "quality/quality.h"

#include "l2/sets.h"

static uint64_t chance = 88172645463325252u;

static uint64_t random_bits(void)
{
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return chance;
}

/* Any finite double: tiny, huge, whole, of both signs. */
static double any(void)
{
    static const double odd[] = {0, -0.0, 5e-324, -1.7976931348623157e308, 1e17, 123456789, 0.1};
    double x;

    if (random_bits() % 8 == 0)
        return odd[random_bits() % 7];
    do {
        const uint64_t bits = random_bits();
        memcpy(&x, &bits, sizeof x);
    } while (x - x != 0);
    return x;
}

static double share(void)
{
    return (double)(random_bits() >> 11) / 9007199254740992.0;
}

static double above(double low)
{
    const double x = any();

    return x > low ? x : low;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void fill_bins(struct l2_psi_bins *bins)
{
    double left = 1;

    bins->n = 1 + (uint32_t)(random_bits() % L2_PSI_BINS_MAX);
    for (uint32_t i = 0; i + 1 < bins->n; i++) {
        bins->edge[i] = (double)(int64_t)random_bits() / 3;
        bins->share[i] = left * share();
        left -= bins->share[i];
    }
    bins->share[bins->n - 1] = left;
    qsort(bins->edge, bins->n - 1, sizeof *bins->edge, by_value);
    assert_true(l2_psi_bins_valid(bins));
}

static void fill_feature(struct l2_reference_feature *f, int column)
{
    f->n = random_bits() % 4 == 0 ? 0 : (uint32_t)random_bits() | 1;
    f->null_share = share();
    if (f->n == 0)
        return;
    f->mean = any();
    f->sd = above(0);
    if (column == L2_MID_PRICE)
        return;
    f->low = any() / 2;
    f->high = above(f->low);
    if (column == L2_SPREAD_BPS) {
        f->low = -share();
        f->high = L2_RANGE_SPREAD_BPS_MAX;
    }
    fill_bins(&f->bins);
    f->psi_24h_warn = above(L2_PSI_WARN);
    f->psi_24h_p2 = above(L2_PSI_P2);
    f->psi_30d_warn = above(L2_PSI_WARN);
    f->psi_30d_p2 = above(L2_PSI_P2);
}

static void fill_estimate(struct l2_estimate *e)
{
    e->known = random_bits() % 2 == 0;
    if (!e->known)
        return;
    e->value = share();
    e->low = share();
    e->high = e->low + (1 - e->low) * share();
}

static void make(struct quality_file *file, uint32_t cryptos_n)
{
    *file = (struct quality_file){.version = "v1.2:rc+3_x-y",
                                  .exchange = "binance-usdm",
                                  .bar_s = 900,
                                  .from_us = -5,
                                  .to_us = INT64_C(1767225600000000),
                                  .cryptos_n = cryptos_n};
    file->crypto = calloc(cryptos_n, sizeof *file->crypto);
    assert_non_null(file->crypto);
    for (uint32_t i = 0; i < cryptos_n; i++) {
        struct l2_reference *const r = &file->crypto[i];
        snprintf(r->symbol, sizeof r->symbol, "C%05u", i);
        memcpy(r->exchange, file->exchange, sizeof r->exchange);
        memcpy(r->version, file->version, sizeof r->version);
        r->bar_s = file->bar_s;
        r->from_us = (int64_t)(random_bits() % 1000000000);
        r->to_us = r->from_us + 1 + (int64_t)(random_bits() % 1000000000);
        r->snapshots_median = above(0);
        for (int c = 0; c < L2_COLUMNS; c++)
            fill_feature(&r->feature[c], c);
        fill_estimate(&r->f1_buy);
        fill_estimate(&r->agreement);
        fill_estimate(&r->blind_f1_buy);
    }
}

static void round_trip(void **state)
{
    (void)state;
    for (int round = 0; round < 200; round++) {
        struct quality_file file, back;
        struct err err = {0};
        char *text = NULL, *again = NULL;
        size_t n = 0, again_n = 0;
        make(&file, 1 + (uint32_t)(random_bits() % 5));
        assert_int_equal(quality_print(&file, &text, &n, &err), ERR_OK);
        if (quality_parse(text, n, "x.json", &back, &err) != ERR_OK)
            fail_msg("%s\n%s", err.text, text);
        assert_int_equal(back.cryptos_n, file.cryptos_n);
        for (uint32_t i = 0; i < file.cryptos_n; i++)
            assert_memory_equal(&back.crypto[i], &file.crypto[i], sizeof *file.crypto);
        assert_int_equal(quality_print(&back, &again, &again_n, &err), ERR_OK);
        assert_string_equal(again, text);
        free(text);
        free(again);
        quality_free(&file);
        quality_free(&back);
    }
}

static const char good[] =
    "{\"format\": 1, \"version\": \"v\", \"exchange\": \"e\", \"bar_seconds\": 900, "
    "\"training\": {\"from\": 0, \"to\": 10}, \"cryptos\": {"
    "\"B\": {\"training\": {\"from\": 1, \"to\": 9}, \"snapshots_median\": 5, "
    "\"agreement\": {\"value\": 0.5, \"low\": 0.4, \"high\": 0.6}, \"features\": {"
    "\"mid_price\": {\"n\": 3, \"null_share\": 0, \"mean\": 1, \"sd\": 2}, "
    "\"spread_bps\": {\"n\": 3, \"null_share\": 0.25, \"mean\": 1, \"sd\": 2, "
    "\"range\": [-1, 1000], \"edges\": [0.5, 1.5], \"shares\": [0.5, 0.25, 0.25], "
    "\"psi_24h\": {\"warn\": 0.1, \"p2\": 0.25}, \"psi_30d\": {\"warn\": 0.2, \"p2\": 0.3}}, "
    "\"depth_imbalance_l1\": {\"n\": 0, \"null_share\": 1}, "
    "\"depth_imbalance_l5\": {\"n\": 0, \"null_share\": 1}, "
    "\"ofi_15m\": {\"n\": 0, \"null_share\": 1}, "
    "\"kyle_lambda\": {\"n\": 0, \"null_share\": 1}}}}}";

/* The good text with its first `from` replaced, and what must be said of it. */
static const struct {
    const char *from, *to, *says;
} faults[] = {
    {"\"format\": 1", "\"format\": 2", "format: 2 is not within 1 and 1"},
    {"{\"format\"", "[\"format\"", "line 1"},
    {"\"format\": 1, ", "", "format: missing"},
    {"\"format\": 1, ", "\"format\": 1, \"a b\": 2, ", "a field: not a field of this format"},
    {"\"format\": 1, ", "\"format\": 1, \"ormat\": 2, ", "ormat: not a field of this format"},
    {"\"version\": \"v\"", "\"version\": \"\"", "version: not ["},
    {"\"version\": \"v\"", "\"version\": \"a b\"", "version: not ["},
    {"\"version\": \"v\"", "\"version\": 3", "version: not a string"},
    {"\"exchange\": \"e\", ", "", "exchange: missing"},
    {"\"exchange\": \"e\"", "\"exchange\": \"012345678901234567890123456789012\"", "too long"},
    {"\"exchange\": \"e\"", "\"exchange\": \"a b\"", "exchange: not ["},
    {"\"bar_seconds\": 900", "\"bar_seconds\": 90", "bar_seconds: not whole minutes"},
    {"\"bar_seconds\": 900", "\"bar_seconds\": 420", "bar_seconds: not whole minutes"},
    {"\"bar_seconds\": 900", "\"bar_seconds\": 900.0", "bar_seconds: not a whole number"},
    {"\"from\": 0", "\"from\": 10", "training.to: not after from"},
    {"\"from\": 0", "\"from\": 2", "B.training: outside of the file's"},
    {"\"to\": 9", "\"to\": 11", "B.training: outside of the file's"},
    {"\"from\": 0", "\"from\": \"0\"", "training.from: not a whole number"},
    {"{\"from\": 0, \"to\": 10}", "[0, 10]", "training: not an object"},
    {"\"B\": {", "\"B/C\": {", "cryptos: a symbol"},
    {"\"cryptos\": {", "\"cryptos\": {\"B\": {}, ", "duplicate object key"},
    {"\"snapshots_median\": 5", "\"snapshots_median\": -5", "B.snapshots_median: -5 is not"},
    {"\"snapshots_median\": 5", "\"snapshots_median\": 1e999", "real number overflow"},
    {"\"snapshots_median\"", "\"snapshots\"", "snapshots: not a field"},
    {"\"value\": 0.5", "\"value\": 1.5", "B.agreement.value: 1.5 is not within 0 and 1"},
    {"\"high\": 0.6", "\"high\": 0.3", "B.agreement.high: 0.3"},
    {"\"mid_price\"", "\"mid\"", "B.features.mid_price: missing"},
    {"\"n\": 3, \"null_share\": 0, \"mean\": 1, \"sd\": 2}",
     "\"n\": 3, \"null_share\": 0, \"mean\": 1, \"sd\": 2, \"range\": [0, 1]}",
     "B.features.mid_price.range: not a field"},
    {"\"null_share\": 0.25", "\"null_share\": 25", "B.features.spread_bps.null_share: 25"},
    {"\"mean\": 1, \"sd\": 2, \"range\"", "\"mean\": 1, \"sd\": -2, \"range\"",
     "spread_bps.sd: -2"},
    {"[-1, 1000]", "[-1, 1000.5]", "spread_bps.range: not [low"},
    {"[-1, 1000]", "[2, 1]", "spread_bps.range: not [low"},
    {"[-1, 1000]", "[2]", "spread_bps.range: 1 is not within 2 and 2"},
    {"[0.5, 1.5]", "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]", "edges: 10 is not within 0 and 9"},
    {"[-1, 1000]", "[-1, \"9\"]", "spread_bps.range: not all of it numbers"},
    {"[0.5, 1.5]", "[1.5, 0.5]", "spread_bps.edges: they do not rise"},
    {"[0.5, 1.5]", "[1.5]", "spread_bps.shares: not one more"},
    {"[0.5, 0.25, 0.25]", "[0.5, 0.25, 0.5]", "spread_bps.edges: they do not rise, or the shares"},
    {"[0.5, 0.25, 0.25]", "0.5", "spread_bps.shares: not a list"},
    {"\"warn\": 0.1,", "\"warn\": 0.0999,", "spread_bps.psi_24h.warn: 0.0999 is not within 0.1"},
    {"\"p2\": 0.3", "\"p2\": 0.2", "spread_bps.psi_30d.p2: 0.2 is not within 0.25"},
    {"\"p2\": 0.3", "\"p2\": null", "spread_bps.psi_30d.p2: not a number"},
    {"\"n\": 0, \"null_share\": 1}}", "\"n\": -1, \"null_share\": 1}}", "kyle_lambda.n: -1"},
    {"\"kyle_lambda\": {", "\"x\": {}, \"kyle_lambda\": {", "features.*: a feature that is none"},
};

static enum err_class parse(const char *text, struct quality_file *file, struct err *err)
{
    return quality_parse(text, strlen(text), "f.json", file, err);
}

static void faults_are_named(void **state)
{
    (void)state;
    struct quality_file file;
    struct err err = {0};
    char text[4096];

    if (parse(good, &file, &err) != ERR_OK)
        fail_msg("%s", err.text);
    assert_true(file.crypto[0].feature[L2_SPREAD_BPS].psi_24h_warn == 0.1);
    quality_free(&file);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        const char *const at = strstr(good, faults[i].from);
        assert_non_null(at);
        snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good, faults[i].to,
                 at + strlen(faults[i].from));
        if (parse(text, &file, &err) != ERR_REJECT)
            fail_msg("taken: %s", faults[i].to);
        if (strstr(err.text, faults[i].says) == NULL || strncmp(err.text, "f.json: ", 8) != 0)
            fail_msg("%s: %s, not %s", faults[i].to, err.text, faults[i].says);
    }
}

/* Of cryptos there is one at least, and an object each; of all of them there is a bound. */
static void cryptos_are_objects(void **state)
{
    (void)state;
    static const char head[] =
        "{\"format\": 1, \"version\": \"v\", \"exchange\": \"e\", \"bar_seconds\": 900, "
        "\"training\": {\"from\": 0, \"to\": 10}, \"cryptos\": {";
    static char text[sizeof head + (QUALITY_CRYPTOS_MAX + 1) * 16];
    struct quality_file file;
    struct err err = {0};

    assert_int_equal(parse("[]", &file, &err), ERR_REJECT);
    assert_non_null(strstr(err.text, "not a JSON object"));
    size_t n = (size_t)snprintf(text, sizeof text, "%s}}", head);
    assert_int_equal(parse(text, &file, &err), ERR_REJECT);
    assert_non_null(strstr(err.text, "cryptos: 0 is not within 1 and 8192"));
    snprintf(text, sizeof text, "%s\"B\": 3}}", head);
    assert_int_equal(parse(text, &file, &err), ERR_REJECT);
    assert_non_null(strstr(err.text, "B: not an object"));
    n = sizeof head - 1;
    for (int i = 0; i <= QUALITY_CRYPTOS_MAX; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s\"C%d\": 3", i > 0 ? "," : "", i);
    snprintf(text + n, sizeof text - n, "}}");
    assert_int_equal(parse(text, &file, &err), ERR_REJECT);
    assert_non_null(strstr(err.text, "cryptos: 8193 is not within"));
}

static void versions_have_a_length(void **state)
{
    (void)state;
    char version[L2_REFERENCE_VERSION_BYTES_MAX + 2];

    memset(version, 'v', sizeof version);
    version[L2_REFERENCE_VERSION_BYTES_MAX + 1] = '\0';
    assert_false(quality_version_ok(version));
    version[L2_REFERENCE_VERSION_BYTES_MAX] = '\0';
    assert_true(quality_version_ok(version));
}

static const struct {
    const char *text, *says;
} wrong_estimates[] = {
    {"[]", "not a JSON object"},
    {"{", "line 1"},
    {"{\"B\": 3}", "B: not an object"},
    {"{\"B\": {\"f1\": {}}}", "B.f1: not a field"},
    {"{\"B\": {\"f1_buy\": 0.5}}", "B.f1_buy: not an object"},
    {"{\"C\": {}}", "there are no bars of it"},
};

/* What a trainer knows of the models comes from another file. */
static void estimates_are_taken_up(void **state)
{
    (void)state;
    static const char text[] =
        "{\"B\": {\"f1_buy\": {\"value\": 0.5, \"low\": 0.25, \"high\": 1}}}";
    struct quality_file file;
    struct err err = {0};

    assert_int_equal(parse(good, &file, &err), ERR_OK);
    for (size_t i = 0; i < sizeof wrong_estimates / sizeof wrong_estimates[0]; i++) {
        const char *const wrong = wrong_estimates[i].text;
        assert_int_equal(quality_parse_estimates(wrong, strlen(wrong), "x", &file, &err),
                         ERR_REJECT);
        if (strstr(err.text, wrong_estimates[i].says) == NULL)
            fail_msg("%s: %s", wrong, err.text);
    }
    assert_int_equal(quality_parse_estimates(text, sizeof text - 1, "x", &file, &err), ERR_OK);
    assert_true(file.crypto[0].f1_buy.known && file.crypto[0].f1_buy.value == 0.5);
    assert_true(file.crypto[0].agreement.known && !file.crypto[0].blind_f1_buy.known);
    quality_free(&file);
}

static void cryptos_are_found(void **state)
{
    (void)state;
    struct quality_file file = {.cryptos_n = 0};
    struct err err = {0};
    char *text = NULL, *reversed;
    size_t n = 0;

    assert_null(quality_find(&file, "C00000"));
    make(&file, 2);
    memcpy(file.crypto[0].symbol, "Z", 2);
    assert_int_equal(quality_print(&file, &text, &n, &err), ERR_OK);
    quality_free(&file);
    reversed = text;
    assert_int_equal(quality_parse(reversed, n, "x", &file, &err), ERR_OK);
    assert_ptr_equal(quality_find(&file, "C00001"), &file.crypto[0]);
    assert_ptr_equal(quality_find(&file, "Z"), &file.crypto[1]);
    assert_null(quality_find(&file, "C0000"));
    free(text);
    quality_free(&file);
}

static void files(void **state)
{
    (void)state;
    struct quality_file file, back;
    struct err err = {0};
    char path[] = "/tmp/l2flow-quality-XXXXXX", tmp[64];
    const int fd = mkstemp(path);

    assert_true(fd >= 0);
    close(fd);
    make(&file, 3);
    assert_int_equal(quality_name_by_content(&file, &err), ERR_OK);
    assert_int_equal(strncmp(file.version, "fnv1a-", 6), 0);
    assert_string_equal(file.crypto[2].version, file.version);
    assert_int_equal(quality_write(&file, path, &err), ERR_OK);
    snprintf(tmp, sizeof tmp, "%s.tmp", path);
    assert_int_not_equal(access(tmp, F_OK), 0);
    assert_int_equal(quality_read(path, &back, &err), ERR_OK);
    assert_string_equal(back.version, file.version);
    quality_free(&back);
    assert_int_equal(quality_write(&file, "/nowhere/x", &err), ERR_FATAL);
    snprintf(tmp, sizeof tmp, "%s.link", path);
    assert_int_equal(symlink("/dev/null", tmp), 0); /* as a device: it must stay what it is */
    assert_int_equal(quality_write(&file, tmp, &err), ERR_REJECT);
    assert_true(readlink(tmp, (char[16]){0}, 15) > 0);
    unlink(tmp);
    assert_int_equal(quality_read("/nowhere/x", &back, &err), ERR_REJECT);
    assert_int_equal(quality_parse("{}", (size_t)QUALITY_FILE_BYTES_MAX + 1, "x", &back, &err),
                     ERR_REJECT);
    unlink(path);
    quality_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(faults_are_named),
        cmocka_unit_test(cryptos_are_objects),
        cmocka_unit_test(versions_have_a_length),
        cmocka_unit_test(estimates_are_taken_up),
        cmocka_unit_test(cryptos_are_found),
        cmocka_unit_test(files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
