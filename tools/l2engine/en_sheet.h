/* en_sheet.h: for tests: an answer sheet, lines of "symbol,bar_time_us,sell|hold|buy". */
#ifndef EN_SHEET_H
#define EN_SHEET_H

#include "core/en_core.h"

struct en_sheet;

/* path "": none, *ret_sheet is NULL. ERR_REJECT names the line. */
enum err_class en_sheet_read(const char *path, struct en_sheet **ret_sheet,
                             struct err *err) MUST_CHECK;
void en_sheet_free(struct en_sheet *sheet); /* NULL-safe */
/* false: it says nothing of that bar. */
bool en_sheet_find(const struct en_sheet *sheet, struct en_name symbol, int64_t bar_time_us,
                   enum l2_class *ret_label);

#endif
