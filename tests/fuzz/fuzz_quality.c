/* Any text as l2_quality_reference.json: what is taken prints, and is then taken again, the same.
 * Seen to fail: 6 digits for 17; "-0" for "-0.0". */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "quality/quality.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct quality_file file, back;
    struct err err = {.text = ""};
    char *text = NULL, *again = NULL;
    size_t text_n = 0, again_n = 0;
    const enum err_class e = quality_parse((const char *)data, n, "x", &file, &err);

    assert(e == ERR_OK || (e == ERR_REJECT && err.text[0] != '\0'));
    if (e != ERR_OK)
        return 0;
    assert(quality_print(&file, &text, &text_n, &err) == ERR_OK);
    assert(quality_parse(text, text_n, "x", &back, &err) == ERR_OK);
    assert(quality_print(&back, &again, &again_n, &err) == ERR_OK);
    assert(text_n == again_n && memcmp(text, again, text_n) == 0);
    assert(back.cryptos_n == file.cryptos_n &&
           memcmp(back.crypto, file.crypto, file.cryptos_n * sizeof *file.crypto) == 0);
    (void)quality_parse_estimates((const char *)data, n, "x", &file, &err);
    quality_free(&file);
    quality_free(&back);
    free(text);
    free(again);
    return 0;
}
