#include "l2/sets.h"

#include <assert.h>
#include <string.h>

const char *const l2_column_names[L2_COLUMNS] = {
    [L2_MID_PRICE] = "mid_price",
    [L2_SPREAD_BPS] = "spread_bps",
    [L2_DEPTH_IMBALANCE_L1] = "depth_imbalance_l1",
    [L2_DEPTH_IMBALANCE_L5] = "depth_imbalance_l5",
    [L2_OFI] = "ofi_15m",
    [L2_KYLE_LAMBDA] = "kyle_lambda",
};

static const struct {
    const char *name;
    uint32_t columns;
} sets[L2_SETS] = {
    [L2_SET_MIN] = {"min", 1U << L2_SPREAD_BPS | 1U << L2_DEPTH_IMBALANCE_L1 | 1U << L2_MID_PRICE},
    [L2_SET_STANDARD] = {"standard", (1U << L2_COLUMNS) - 1},
    [L2_SET_FLOW_ONLY] = {"flow_only",
                          1U << L2_KYLE_LAMBDA | 1U << L2_OFI | 1U << L2_DEPTH_IMBALANCE_L5},
};

const char *l2_set_name(enum l2_set set)
{
    assert(set < L2_SETS);
    return sets[set].name;
}

bool l2_set_parse(const char *name, enum l2_set *ret_set)
{
    for (int i = 0; i < L2_SETS; i++) {
        if (strcmp(name, sets[i].name) == 0) {
            *ret_set = (enum l2_set)i;
            return true;
        }
    }
    return false;
}

uint32_t l2_set_columns(enum l2_set set)
{
    assert(set < L2_SETS);
    return sets[set].columns;
}
