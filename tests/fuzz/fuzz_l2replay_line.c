/* Any bytes as a line of a recording, and what it says as a message for the sequence rules. */
#include "rep_line.h"
#include "rep_sync.h"

#include <stdlib.h>
#include <string.h>

static struct rep_msg msg;
static struct rep_sync sync_state;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input is a whole recording: lines, so that the fuzzer finds sequences too. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct codec_level top[8];
    struct err err;

    rep_sync_init(&sync_state);
    for (size_t at = 0; at < size;) {
        const uint8_t *const newline = memchr(data + at, '\n', size - at);
        const size_t n = newline != NULL ? (size_t)(newline - (data + at)) : size - at;
        char *const line = malloc(n > 0 ? n : 1); /* of its own size: a byte too far is seen */
        enum rep_sync_verdict verdict;
        if (line == NULL)
            abort();
        memcpy(line, data + at, n);
        if (rep_line_parse(line, n, &msg, &err) == ERR_OK &&
            rep_sync_take(&sync_state, &msg, 1, &verdict, &err) == ERR_OK) {
            const uint32_t bids_n = rep_side_top(&sync_state.book.bids, 8, top);
            for (uint32_t i = 1; i < bids_n; i++) {
                if (top[i].price > top[i - 1].price)
                    abort();
            }
        }
        free(line);
        at += n + 1;
    }
    rep_sync_free(&sync_state);
    return 0;
}
