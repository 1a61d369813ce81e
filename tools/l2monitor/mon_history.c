#include "mon_history.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RUN_BUFFER_BYTES ((size_t)256 << 10) /* more than any record */
#define SLOTS_N (2 * MON_HISTORY_SYMBOLS_MAX + 1)
#define PATH_BYTES 4096

/* Before a record, in memory and in the file. */
struct item {
    int64_t order_us;
    uint32_t symbol, n;
    uint32_t lane;
    uint32_t unused;
};

struct place {
    struct item item;
    size_t at; /* of its bytes in the arena */
};

/* A sorted part of the file. */
struct run {
    off_t next, end;
    uint8_t *buffer;
    size_t have, pos;
    bool is_there; /* `head` is the run's first that was not handed out */
    struct item head;
};

struct symbol {
    char name[L2_SYMBOL_BYTES_MAX + 1];
    uint64_t count[MON_LANES_MAX];
};

struct mon_history {
    uint8_t *arena;
    size_t arena_n, arena_max;
    struct place *places;
    size_t places_n, places_room, places_next;
    struct symbol *symbols;
    uint32_t symbols_n, symbols_room;
    uint32_t *slots; /* number + 1 by hash; 0: free */
    int file; /* −1: all fits */
    off_t file_n;
    bool has_disk_failed;
    struct run *runs;
    unsigned runs_n;
    size_t largest;   /* record with its item */
    size_t run_bytes; /* of a run's buffer */
};

struct mon_history *mon_history_new(size_t memory_bytes_max)
{
    struct mon_history *const h = calloc(1, sizeof *h);

    if (h == NULL)
        return NULL;
    h->file = -1;
    h->arena_max = memory_bytes_max;
    h->arena = malloc(memory_bytes_max); /* pages that are not touched cost nothing */
    h->slots = calloc(SLOTS_N, sizeof *h->slots);
    if (h->arena == NULL || h->slots == NULL) {
        mon_history_free(h);
        return NULL;
    }
    return h;
}

void mon_history_free(struct mon_history *h)
{
    if (h == NULL)
        return;
    for (unsigned i = 0; i < h->runs_n; i++)
        free(h->runs[i].buffer);
    if (h->file >= 0)
        (void)close(h->file);
    free(h->runs);
    free(h->slots);
    free(h->symbols);
    free(h->places);
    free(h->arena);
    free(h);
}

/* ---- symbols */

static enum err_class grow_symbols(struct mon_history *h, struct err *err)
{
    if (h->symbols_n == MON_HISTORY_SYMBOLS_MAX)
        return err_set(err, ERR_REJECT, "more than %d cryptos", MON_HISTORY_SYMBOLS_MAX);
    if (h->symbols_n < h->symbols_room)
        return ERR_OK;
    const uint32_t room = h->symbols_room == 0 ? 64 : h->symbols_room * 2;
    struct symbol *const more = realloc(h->symbols, room * sizeof *more);

    if (more == NULL)
        return err_set(err, ERR_FATAL, "out of memory");
    h->symbols = more;
    h->symbols_room = room;
    return ERR_OK;
}

static enum err_class number_of(struct mon_history *h, struct codec_str name, uint32_t *ret_number,
                                struct err *err)
{
    uint32_t hash = 2166136261U; /* FNV-1a */

    for (uint32_t i = 0; i < name.n; i++)
        hash = (hash ^ (uint8_t)name.data[i]) * 16777619U;
    for (hash %= SLOTS_N; h->slots[hash] != 0; hash = (hash + 1) % SLOTS_N) {
        *ret_number = h->slots[hash] - 1;
        if (codec_str_equal(codec_str(h->symbols[*ret_number].name), name))
            return ERR_OK;
    }
    assert(name.n <= L2_SYMBOL_BYTES_MAX);
    if (grow_symbols(h, err) != ERR_OK)
        return err->class;
    struct symbol *const s = &h->symbols[h->symbols_n];

    *s = (struct symbol){.count = {0}};
    memcpy(s->name, name.data, name.n);
    *ret_number = h->symbols_n++;
    h->slots[hash] = *ret_number + 1;
    return ERR_OK;
}

/* ---- order */

static int compare(const struct mon_history *h, const struct item *a, const struct item *b)
{
    if (a->order_us != b->order_us)
        return a->order_us < b->order_us ? -1 : 1;
    if (a->lane != b->lane)
        return a->lane < b->lane ? -1 : 1;
    return a->symbol == b->symbol ? 0
                                  : strcmp(h->symbols[a->symbol].name, h->symbols[b->symbol].name);
}

static int by_order(const void *a, const void *b, void *user)
{
    const struct place *const x = a, *const y = b;
    const int c = compare(user, &x->item, &y->item);

    return c != 0 ? c : (x->at > y->at) - (x->at < y->at); /* as they were put */
}

static void sort_places(struct mon_history *h)
{
    qsort_r(h->places, h->places_n, sizeof *h->places, by_order, h);
}

/* ---- the file */

static enum err_class open_file(struct mon_history *h, struct err *err)
{
    const char *folder = getenv("TMPDIR");
    char path[PATH_BYTES];

    if (folder == NULL || folder[0] == '\0')
        folder = "/tmp";
    snprintf(path, sizeof path, "%s/l2monitor-XXXXXX", folder);
    h->file = mkstemp(path);
    h->has_disk_failed = h->file < 0;
    if (h->file < 0)
        return err_set(err, ERR_FATAL, "%s: %s: TMPDIR names another folder", path,
                       strerror(errno));
    (void)unlink(path); /* gone with the process, however it ends */
    return ERR_OK;
}

static enum err_class write_all(struct mon_history *h, const void *bytes, size_t n, struct err *err)
{
    const uint8_t *at = bytes;

    while (n > 0) {
        const ssize_t done = pwrite(h->file, at, n, h->file_n);
        if (done < 0 && errno == EINTR)
            continue;
        h->has_disk_failed = done <= 0;
        if (done <= 0)
            return err_set(err, ERR_FATAL,
                           "the temporary file: %s: TMPDIR names a folder with more room, --memory "
                           "needs less of it",
                           done < 0 ? strerror(errno) : "nothing was written");
        at += done;
        n -= (size_t)done;
        h->file_n += done;
    }
    return ERR_OK;
}

/* What is in memory becomes a run. */
static enum err_class spill(struct mon_history *h, struct err *err)
{
    struct run *const more = realloc(h->runs, (h->runs_n + 1) * sizeof *more);
    static uint8_t buffer[RUN_BUFFER_BYTES];
    size_t n = 0;

    if (more == NULL)
        return err_set(err, ERR_FATAL, "out of memory");
    h->runs = more;
    if (h->file < 0 && open_file(h, err) != ERR_OK)
        return err->class;
    struct run *const run = &h->runs[h->runs_n];

    *run = (struct run){.next = h->file_n};
    sort_places(h);
    for (size_t i = 0; i < h->places_n; i++) {
        const struct place *const p = &h->places[i];
        if (n + sizeof p->item + p->item.n > sizeof buffer) {
            if (write_all(h, buffer, n, err) != ERR_OK)
                return err->class;
            n = 0;
        }
        memcpy(buffer + n, &p->item, sizeof p->item);
        memcpy(buffer + n + sizeof p->item, h->arena + p->at, p->item.n);
        n += sizeof p->item + p->item.n;
    }
    if (write_all(h, buffer, n, err) != ERR_OK)
        return err->class;
    run->end = h->file_n;
    h->runs_n++;
    h->places_n = h->arena_n = 0;
    return ERR_OK;
}

/* ---- in */

static enum err_class make_room(struct mon_history *h, size_t n, struct err *err)
{
    const size_t used = h->arena_n + h->places_n * sizeof *h->places;

    if (used + n + sizeof *h->places > h->arena_max && spill(h, err) != ERR_OK)
        return err->class;
    if (h->places_n < h->places_room)
        return ERR_OK;
    const size_t room = h->places_room == 0 ? 4096 : h->places_room * 2;
    struct place *const more = realloc(h->places, room * sizeof *more);

    if (more == NULL)
        return err_set(err, ERR_FATAL, "out of memory");
    h->places = more;
    h->places_room = room;
    return ERR_OK;
}

enum err_class mon_history_put(struct mon_history *h, unsigned lane, struct codec_str symbol,
                               int64_t order_us, const struct codec_record *record,
                               const void *value, struct err *err)
{
    const size_t most = record->bytes_max + CODEC_FRAME_BYTES;
    uint32_t number = 0;
    size_t n = 0;

    assert(lane < MON_LANES_MAX && most + sizeof(struct item) <= RUN_BUFFER_BYTES);
    if (number_of(h, symbol, &number, err) != ERR_OK || make_room(h, most, err) != ERR_OK)
        return err->class;
    const enum codec_status status = codec_frame(record, value, h->arena + h->arena_n, most, &n);

    if (status != CODEC_OK)
        return err_set(err, ERR_REJECT, "a record of %s: %s", record->name,
                       codec_status_name(status));
    h->places[h->places_n++] = (struct place){
        .item = {.order_us = order_us, .symbol = number, .lane = lane, .n = (uint32_t)n},
        .at = h->arena_n};
    h->arena_n += n;
    h->largest = sizeof(struct item) + n > h->largest ? sizeof(struct item) + n : h->largest;
    h->symbols[number].count[lane]++;
    return ERR_OK;
}

/* ---- out */

static enum err_class fill(struct mon_history *h, struct run *r, struct err *err)
{
    memmove(r->buffer, r->buffer + r->pos, r->have - r->pos);
    r->have -= r->pos;
    r->pos = 0;
    while (r->have < h->run_bytes && r->next < r->end) {
        const size_t left = (size_t)(r->end - r->next), room = h->run_bytes - r->have;
        const ssize_t n = pread(h->file, r->buffer + r->have, left < room ? left : room, r->next);
        if (n < 0 && errno == EINTR)
            continue;
        h->has_disk_failed = n <= 0;
        if (n <= 0)
            return err_set(err, ERR_FATAL, "the temporary file: %s",
                           n < 0 ? strerror(errno) : "it is too short");
        r->have += (size_t)n;
        r->next += n;
    }
    return ERR_OK;
}

/* The next of a run becomes its head. */
static enum err_class advance(struct mon_history *h, struct run *r, struct err *err)
{
    if (r->is_there)
        r->pos += sizeof r->head + r->head.n;
    r->is_there = false;
    for (unsigned i = 0; i < 2; i++) {
        const size_t left = r->have - r->pos;
        if (left >= sizeof r->head) {
            memcpy(&r->head, r->buffer + r->pos, sizeof r->head);
            r->is_there = left >= sizeof r->head + r->head.n;
        }
        if (r->is_there || (left == 0 && r->next == r->end))
            return ERR_OK;
        if (i == 0 && fill(h, r, err) != ERR_OK)
            return err->class;
    }
    return err_set(err, ERR_FATAL, "the temporary file ends within a record");
}

/* All of them together take what the records had, however many they are. */
static size_t share_of_a_run(const struct mon_history *h)
{
    const size_t fair = h->arena_max / (h->runs_n > 0 ? h->runs_n : 1);

    return fair > RUN_BUFFER_BYTES ? RUN_BUFFER_BYTES : fair < h->largest ? h->largest : fair;
}

enum err_class mon_history_sort(struct mon_history *h, struct err *err)
{
    h->run_bytes = share_of_a_run(h);
    for (unsigned i = 0; i < h->runs_n; i++) {
        h->runs[i].buffer = malloc(h->run_bytes);
        if (h->runs[i].buffer == NULL)
            return err_set(err, ERR_FATAL, "out of memory");
        if (advance(h, &h->runs[i], err) != ERR_OK)
            return err->class;
    }
    sort_places(h);
    return ERR_OK;
}

/* The run whose head is least, the earlier of equals; NULL: what is in memory is less. */
static struct run *least_run(struct mon_history *h)
{
    const struct item *least = NULL; /* what is in memory was put last: of equals it comes behind */
    struct run *found = NULL;

    for (unsigned i = 0; i < h->runs_n; i++) {
        struct run *const r = &h->runs[i];
        if (r->is_there && (least == NULL || compare(h, &r->head, least) < 0)) {
            least = &r->head;
            found = r;
        }
    }
    if (h->places_next < h->places_n && least != NULL &&
        compare(h, &h->places[h->places_next].item, least) < 0)
        return NULL;
    return found;
}

enum err_class mon_history_next(struct mon_history *h, struct mon_history_record *ret,
                                bool *ret_got, struct err *err)
{
    static uint8_t value[RUN_BUFFER_BYTES];
    struct run *const r = least_run(h);
    struct item item;

    *ret_got = r != NULL || h->places_next < h->places_n;
    if (!*ret_got)
        return ERR_OK;
    if (r != NULL) {
        item = r->head;
        memcpy(value, r->buffer + r->pos + sizeof item, item.n); /* the buffer moves on */
        ret->value = value;
        if (advance(h, r, err) != ERR_OK)
            return err->class;
    } else {
        const struct place *const p = &h->places[h->places_next++];
        item = p->item;
        ret->value = h->arena + p->at;
    }
    ret->order_us = item.order_us;
    ret->lane = item.lane;
    ret->symbol = item.symbol;
    ret->value_n = item.n;
    return ERR_OK;
}

/* ---- asking */

bool mon_history_has_disk_failed(const struct mon_history *h)
{
    return h->has_disk_failed;
}

uint32_t mon_history_symbols_n(const struct mon_history *h)
{
    return h->symbols_n;
}

const char *mon_history_symbol(const struct mon_history *h, uint32_t symbol)
{
    assert(symbol < h->symbols_n);
    return h->symbols[symbol].name;
}

uint64_t mon_history_count(const struct mon_history *h, uint32_t symbol, unsigned lane)
{
    assert(symbol < h->symbols_n && lane < MON_LANES_MAX);
    return h->symbols[symbol].count[lane];
}
