/* ba_table.h: is a table the one that our records are written into? */
#ifndef BA_TABLE_H
#define BA_TABLE_H

#include "core/ba_batch.h"
#include "pgc/pgc.h"

/*
 * REJECT, naming table and column, where one of ours is missing, of another type or NOT NULL
 * without being so in the schema, or where one of somebody else's wants a value: then no row could
 * ever be stored, and none is at fault.
 */
enum err_class ba_table_check(struct pgc *pgc, enum ba_table table, struct err *err) MUST_CHECK;

#endif
