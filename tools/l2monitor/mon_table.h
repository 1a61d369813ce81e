/* mon_table.h: a reference, for people. */
#ifndef MON_TABLE_H
#define MON_TABLE_H

#include "l2/calibrate.h"

#include <stdio.h>

void mon_table_head(FILE *out);
void mon_table_crypto(FILE *out, const struct l2_reference *r, uint32_t days,
                      struct l2_psi_calibration detail[L2_COLUMNS][2]);
void mon_table_foot(FILE *out);

#endif
