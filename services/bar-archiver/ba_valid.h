/* ba_valid.h: can this row be true? What is stored is never changed, so an impossible row would
 * keep the right one out for ever. */
#ifndef BA_VALID_H
#define BA_VALID_H

#include "core/ba_batch.h"

/* `record`: a codec_l2_bar or a codec_candle. NULL: nothing is wrong; else what is, for people. */
const char *ba_fault(enum ba_table table, const void *record);

#endif
