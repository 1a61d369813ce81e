#include "topics/topics.h"

#include <assert.h>
#include <stdio.h>

/* The remedy depends on what is wrong: an absent topic or a setting is applied, a partition count
 * is not. */
static enum err_class refuse(const struct topics_table *wanted, const struct topics_diffs *diffs,
                             const char *prefix, struct err *err)
{
    const struct topics_diff *worst = &diffs->items[0];
    char text[160], more[32] = "", option[TOPICS_PREFIX_BYTES_MAX + 24] = "";

    for (unsigned i = 0; i < diffs->n && !topics_is_final(worst->fault); i++) {
        if (topics_is_final(diffs->items[i].fault))
            worst = &diffs->items[i];
    }
    topics_diff_text(wanted, worst, text, sizeof text);
    if (diffs->n > 1)
        snprintf(more, sizeof more, " (and %u more)", diffs->n - 1);
    if (topics_is_final(worst->fault))
        return err_set(err, ERR_REJECT, "%s%s: see %s", text, more, TOPICS_RUNBOOK);
    if (prefix[0] != '\0')
        snprintf(option, sizeof option, " --topic-prefix %s", prefix);
    return err_set(err, ERR_REJECT, "%s%s: type l2ctl topics apply%s", text, more, option);
}

enum err_class topics_check(const struct bus_setting *settings, unsigned settings_n,
                            const struct topics_options *options, const enum topics_id *which,
                            unsigned which_n, int timeout_ms, struct err *err)
{
    struct topics_table wanted, found;
    struct bus_topic asked[TOPICS_N];
    struct topics_diffs diffs;

    assert(which_n <= TOPICS_N);
    enum err_class e = topics_wanted(options, &wanted, err);
    if (e != ERR_OK)
        return e;
    topics_blank(&wanted, &found);
    for (unsigned i = 0; i < which_n; i++)
        asked[i] = found.topics[which[i]];
    e = bus_topics_describe(settings, settings_n, asked, which_n, timeout_ms, err);
    if (e != ERR_OK)
        return e;
    for (unsigned i = 0; i < which_n; i++)
        found.topics[which[i]] = asked[i];
    topics_settle(&wanted, &found);

    bool is_ours[TOPICS_N] = {false};
    for (unsigned i = 0; i < which_n; i++)
        is_ours[which[i]] = true;
    for (unsigned i = 0; i < TOPICS_N; i++) {
        if (!is_ours[i]) /* not asked about: nothing can differ */
            found.topics[i] = wanted.topics[i];
    }
    topics_compare(&wanted, &found, &diffs);
    return diffs.n == 0 ? ERR_OK : refuse(&wanted, &diffs, options->prefix, err);
}
