/* Whatever a sink answers: with any status, and to a login. */
#include <assert.h>
#include <string.h>

#include "alerts/sink.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char why[SINK_WHY_BYTES_MAX], token[SINK_TOKEN_BYTES_MAX];

    if (n < 3)
        return 0;
    const enum sink_kind kind = (enum sink_kind)(data[0] % SINK_KINDS);
    const unsigned status = (unsigned)(data[1] << 8 | data[2]) % 1000;
    const char *body = (const char *)data + 3;
    const enum sink_verdict verdict = sink_judge(kind, status, body, n - 3, why);

    assert((verdict == SINK_DONE) == (why[0] == '\0'));
    assert(verdict != SINK_DONE || (status >= 200 && status < 300) || status == 409);
    assert(memchr(why, '\0', sizeof why) != NULL);
    for (const char *c = why; *c != '\0'; c++)
        assert(*c >= ' ' && *c <= '~');
    if (sink_token(body, n - 3, token)) {
        const size_t length = strnlen(token, sizeof token);
        assert(length > 0 && length < sizeof token);
        for (size_t i = 0; i < length; i++)
            assert(token[i] > ' ' && token[i] <= '~');
    }
    return 0;
}
