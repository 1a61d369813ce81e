/* ba_tell.h: the lines about rows that were not stored, at most BA_LINES_MAX a minute and kind.
 * Used by one thread. */
#ifndef BA_TELL_H
#define BA_TELL_H

#include "ba_store.h"

struct ba_teller { /* zeroed at first */
    struct ba_lines lines[BA_KINDS];
    const char *topics[BA_TABLES]; /* borrowed; of messages, which alone can be undecodable */
};

/* What a batch came to: its examples, and how many more there were. */
void ba_tell(struct ba_teller *teller, const struct ba_result *result, int64_t now_us);
/* One message that is no record of the table's. */
void ba_tell_undecodable(struct ba_teller *teller, enum ba_table table, int32_t partition,
                         int64_t offset, const char *why, int64_t now_us);

#endif
