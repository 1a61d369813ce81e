/* sets.h: feature sets and column names. */
#ifndef L2_SETS_H
#define L2_SETS_H

#include "l2/types.h"

enum l2_set { L2_SET_MIN, L2_SET_STANDARD, L2_SET_FLOW_ONLY, L2_SETS };

/* Column names without the prefix "l2_". */
extern const char *const l2_column_names[L2_COLUMNS];

const char *l2_set_name(enum l2_set set);
/* false when `name` is no set. */
bool l2_set_parse(const char *name, enum l2_set *ret_set);
/* Bit c is set where column c belongs to the set. */
uint32_t l2_set_columns(enum l2_set set);

#endif
