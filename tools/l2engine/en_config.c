#include "en_config.h"

#include "l2/book.h"
#include "l2/params.h"
#include "l2/sets.h"
#include "topics/topics.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const struct config_row en_config_rows[] = {
    /* name                  type           default             min   max     help */
    {"exchange", CONFIG_STRING, "", "0", "32",
     "the exchange whose candles these are; another's are passed over; required"},
    CONNECT_TOPIC_PREFIX_ROW,
    CONNECT_GROUP_ROW("trading-engine-example"),
    CONNECT_REPLICA_ROW("trading-engine-example-0",
                        "replica: its group.instance.id, and with the topic prefix its "
                        "transactional.id"),
    {"bar_seconds", CONFIG_UINT, "900", "60", "3600",
     "length of a bar: 60, 300, 900, 1800 or 3600"},
    {"window_seconds", CONFIG_UINT, "900", "60", "3600",
     "window of the features; says when a symbol's warm-up ends"},
    {"CVN_L2_FEATURES_SET", CONFIG_ENUM, "standard", "", "min|standard|flow_only",
     "the columns whose nulls the NaN rate counts"},
    {"CVN_L2_PURGE_BARS", CONFIG_UINT, "20", "0", "1000",
     "pinned: a feature record with another purge is not used"},
    {"schema_version", CONFIG_STRING, "l2_schema_v1", "1", "64",
     "pinned: a feature record of another version is not used"},
    {"feature_wait_ms", CONFIG_UINT, "2000", "0", "60000",
     "how long a bar waits, in real time, for its feature record where an L2 arm predicts"},
    {"momentum_bars", CONFIG_UINT, "8", "1", "64", "bars over which momentum is measured"},
    {"shadow_without_rollout", CONFIG_BOOL, "0", "", "",
     "without a rollout record, candidate_l2 predicts in the shadow of what is executed"},
    {"effective_arm_without_rollout", CONFIG_ENUM, "no_l2", "", "no_l2|champion_l2|candidate_l2",
     "what is executed without a rollout record: a demo's full operation, say"},
    {"horizon_bars", CONFIG_UINT, "16", "1", "1024", "written with each prediction: its label's"},
    {"barrier_width", CONFIG_STRING, "1.0", "1", "20", "the same: in volatility x sqrt(horizon)"},
    {"volatility_span_bars", CONFIG_UINT, "96", "2", "1024", "the same: span of the volatility"},
    {"agreement", CONFIG_STRING, "", "0", "20",
     "for tests: share of bars, 0 to 1, in which the L2 arms say what no_l2 says; they say "
     "another class in the rest; empty: the rule decides"},
    {"labels_file", CONFIG_STRING, "", "0", "4096",
     "for tests: an answer sheet, lines of symbol,bar_time_us,sell|hold|buy"},
    {"skill", CONFIG_STRING, "0", "1", "20",
     "for tests: share of its bars in which an L2 arm says what the answer sheet says"},
    {"blind_skill", CONFIG_STRING, "0", "1", "20", "for tests: the same of no_l2"},
    {"max_symbols", CONFIG_UINT, "8192", "1", "8192", "symbols past this number are passed over"},
    {"listen", CONFIG_STRING, "127.0.0.1:9110", "3", "64",
     "address of /healthz, /readyz and /metrics; off: none"},
    CONNECT_KAFKA_ROWS,
    CONNECT_REGISTRY_ROWS,
    {.name = NULL},
};

/* A number of [0, most]; empty: `otherwise`. */
static enum err_class load_number(const struct config *config, const char *name, double most,
                                  double otherwise, double *ret, struct err *err)
{
    const char *text = config_string(config, name);
    char *end;
    const double v = strtod(text, &end);

    if (text[0] == '\0') {
        *ret = otherwise;
        return ERR_OK;
    }
    if (*end != '\0' || !(v >= 0 && v <= most))
        return err_set(err, ERR_REJECT, "%s: '%s' is not a number from 0 to %g", name, text, most);
    *ret = v;
    return ERR_OK;
}

static enum err_class load_tests(const struct config *config, struct en_config *c, struct err *err)
{
    struct en_params *p = &c->params;

    c->labels_file = config_string(config, "labels_file");
    if (load_number(config, "agreement", 1, -1, &p->agreement, err) != ERR_OK ||
        load_number(config, "skill", 1, 0, &p->skill, err) != ERR_OK ||
        load_number(config, "blind_skill", 1, 0, &p->blind_skill, err) != ERR_OK)
        return err->class;
    if (strcmp(config_string(config, "L2_PROFILE"), "production") == 0 &&
        (p->agreement >= 0 || p->skill > 0 || p->blind_skill > 0 || c->labels_file[0] != '\0'))
        return err_set(err, ERR_REJECT,
                       "agreement, labels_file, skill, blind_skill: they are for tests, and are "
                       "refused in production: leave them out");
    return ERR_OK;
}

static struct l2_rollout without_rollout(const struct config *config)
{
    const char *arm = config_string(config, "effective_arm_without_rollout");
    struct l2_rollout r = {.known = true,
                           .incumbent = L2_ARM_NO_L2,
                           .effective = L2_ARM_NO_L2,
                           .stage = L2_STAGE_IDLE};

    if (config_bool(config, "shadow_without_rollout")) {
        r.challenger = L2_ARM_CANDIDATE_L2;
        r.stage = L2_STAGE_SHADOW;
    }
    if (strcmp(arm, "champion_l2") == 0)
        r.incumbent = r.effective = L2_ARM_CHAMPION_L2;
    if (strcmp(arm, "candidate_l2") == 0) {
        r.challenger = r.effective = L2_ARM_CANDIDATE_L2;
        r.stage = L2_STAGE_FULL;
    }
    return r;
}

static struct en_params load_params(const struct config *config, const struct clk *clk)
{
    const int64_t wait_us = (int64_t)config_uint(config, "feature_wait_ms") * 1000;
    const int64_t bar_us = (int64_t)config_uint(config, "bar_seconds") * L2_US_PER_S;
    const double speed = clk_speed(clk);
    enum l2_set set = L2_SET_STANDARD;

    (void)l2_set_parse(config_string(config, "CVN_L2_FEATURES_SET"), &set);
    return (struct en_params){
        .bar_us = bar_us,
        .window_us = (int64_t)config_uint(config, "window_seconds") * L2_US_PER_S,
        .columns = l2_set_columns(set),
        .momentum_bars = (uint32_t)config_uint(config, "momentum_bars"),
        .feature_wait_us = wait_us,
        .late_after_us = bar_us + (int64_t)((double)wait_us * (speed > 1 ? speed : 1)),
        .freshness_slack_us =
            clk_is_rehearsal(clk) ? (int64_t)((double)CLK_REAL_FLOOR_US * speed) : 0,
        .without_rollout = without_rollout(config),
        .symbols_max = (uint32_t)config_uint(config, "max_symbols"),
    };
}

static enum err_class check_values(const struct en_config *c, struct err *err)
{
    struct l2_params l2 = l2_params_default();

    if (!l2_symbol_ok(c->exchange, strlen(c->exchange)))
        return err_set(err, ERR_REJECT,
                       "exchange: \"%s\" does not match [A-Za-z0-9._-]{1,32}: set it to the name "
                       "that stands in the candles",
                       c->exchange);
    l2.bar_s = (uint32_t)c->bar_s;
    if (l2_params_check(&l2, err) != ERR_OK)
        return err->class;
    if (!l2_label_params_valid(&c->label))
        return err_set(err, ERR_REJECT, "barrier_width: must be more than 0");
    return ERR_OK;
}

enum err_class en_config_load(const struct config *config, const struct clk *clk,
                              struct en_config *ret, struct err *err)
{
    *ret = (struct en_config){
        .params = load_params(config, clk),
        .exchange = config_string(config, "exchange"),
        .schema_version = config_string(config, "schema_version"),
        .purge_bars = (int32_t)config_uint(config, "CVN_L2_PURGE_BARS"),
        .bar_s = (int64_t)config_uint(config, "bar_seconds"),
        .label = {.horizon_bars = (uint32_t)config_uint(config, "horizon_bars"),
                  .span_bars = (uint32_t)config_uint(config, "volatility_span_bars")},
    };
    (void)snprintf(ret->model_version, sizeof ret->model_version, "1.m%" PRIu32,
                   ret->params.momentum_bars);
    if (load_number(config, "barrier_width", 100, 1, &ret->label.width, err) != ERR_OK ||
        load_tests(config, ret, err) != ERR_OK || check_values(ret, err) != ERR_OK)
        return err->class;
    return connect_kafka_load(config, NULL, NULL, &ret->kafka, err);
}

enum err_class en_config_check(const struct config *config, struct err *err)
{
    static struct topics_table wanted; /* only whether there is one */
    struct http_client_options http;
    struct en_config c;
    struct clk *clk = NULL;
    const struct topics_options topics = {.prefix = config_string(config, "topic_prefix"),
                                          .replication_factor = -1};

    if (clk_new(NULL, &clk, err) != ERR_OK)
        return err->class;
    enum err_class e = en_config_load(config, clk, &c, err);
    if (e == ERR_OK && connect_registry_wanted(config))
        e = connect_registry_load(config, &http, err);
    if (e == ERR_OK)
        e = topics_wanted(&topics, &wanted, err);
    clk_free(clk);
    return e;
}
