/* rep_stop.h: SIGINT and SIGTERM as a flag. The second one ends the program at once. */
#ifndef REP_STOP_H
#define REP_STOP_H

#include <stdbool.h>

void rep_stop_catch(void);
bool rep_stopping(void);

#endif
