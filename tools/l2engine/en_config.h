/* en_config.h: the configuration's rows and what is made of them. */
#ifndef EN_CONFIG_H
#define EN_CONFIG_H

#include "connect/connect.h"
#include "en_wire.h"
#include "svc/svc.h"

extern const struct config_row en_config_rows[];

/* All but what needs a server. Strings are borrowed from the configuration. */
struct en_config {
    struct en_params params; /* but the partitions */
    struct connect_kafka kafka;
    const char *exchange, *schema_version, *labels_file;
    char model_version[EN_MODEL_VERSION_BYTES_MAX];
    int32_t purge_bars;
    int64_t bar_s;
    struct l2_label_params label;
};

/* ERR_REJECT names the key. */
enum err_class en_config_load(const struct config *config, const struct clk *clk,
                              struct en_config *ret, struct err *err) MUST_CHECK;
/* For --check-config. */
enum err_class en_config_check(const struct config *config, struct err *err);

#endif
