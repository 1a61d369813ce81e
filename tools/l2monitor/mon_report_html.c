#include "mon_backtest.h"

enum err_class mon_report_html(const struct mon_backtest *b, FILE *out, struct err *err)
{
    (void)b;
    (void)out;
    return err_set(err, ERR_FATAL, "--html: not there yet");
}
