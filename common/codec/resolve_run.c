/* A plan over one record's bytes. Every read is bounded by what is there, every write by the room,
 * the whole by a number of steps: items without bytes (nulls, empty records) cost a writer nothing.
 */
#include "resolve_internal.h"

#include "codec/wire.h"

#define STEPS_PER_BYTE                                                                             \
    16 /* a record within a record is walked once for each level of reordering                     \
        */
#define STEPS_SPARE 65536
#define STEPS_BYTES_MAX ((size_t)1 << 18) /* a block of a file holds many records */

struct run {
    const struct codec_plan *plan;
    struct codec_in in;
    struct codec_out out;
    unsigned muted; /* > 0: what is read is not wanted */
    unsigned depth;
    size_t steps; /* still to spend */
};

static enum codec_status run(struct run *r, uint32_t op);

static enum codec_status put(struct run *r, const void *data, size_t n)
{
    return r->muted > 0 ? CODEC_OK : codec_out_copy(&r->out, data, n);
}

static enum codec_status put_long(struct run *r, int64_t v)
{
    return r->muted > 0 ? CODEC_OK : codec_out_long(&r->out, v);
}

static enum codec_status copy(struct run *r, size_t n)
{
    if ((size_t)(r->in.end - r->in.p) < n)
        return CODEC_TRUNCATED;
    const uint8_t *from = r->in.p;
    r->in.p += n;
    return put(r, from, n);
}

static enum codec_status copy_view(struct run *r)
{
    uint32_t n;

    CODEC_TRY(codec_in_length(&r->in, UINT32_MAX, &n));
    CODEC_TRY(put_long(r, n));
    return copy(r, n);
}

static enum codec_status copy_number(struct run *r, enum op_kind kind)
{
    int64_t v = 0;
    float f = 0;

    if (kind == OP_INT || kind == OP_INT_TO_FLOAT || kind == OP_INT_TO_DOUBLE) {
        int32_t i;
        CODEC_TRY(codec_in_int(&r->in, &i));
        v = i;
    } else if (kind == OP_FLOAT_TO_DOUBLE) {
        CODEC_TRY(codec_in_float(&r->in, &f));
    } else {
        CODEC_TRY(codec_in_long(&r->in, &v));
    }
    if (kind == OP_INT || kind == OP_LONG)
        return put_long(r, v);
    if (kind == OP_INT_TO_FLOAT || kind == OP_LONG_TO_FLOAT) {
        f = (float)v;
        return put(r, &f, sizeof f);
    }
    const double d = kind == OP_FLOAT_TO_DOUBLE ? (double)f : (double)v;
    return put(r, &d, sizeof d);
}

static enum codec_status copy_bool(struct run *r)
{
    bool v;

    CODEC_TRY(codec_in_bool(&r->in, &v));
    return put_long(r, v ? -1 : 0);
}

/* Skipping a step's value. */
static enum codec_status skip(struct run *r, uint32_t op)
{
    r->muted++;
    const enum codec_status s = run(r, op);
    r->muted--;
    return s;
}

static enum codec_status step_of(struct run *r, const struct step *step)
{
    switch (step->kind) {
    case STEP_READ:
        return run(r, step->op);
    case STEP_SKIP:
        return skip(r, step->op);
    case STEP_CONSTANT:
        break;
    }
    return put(r, r->plan->constants + step->at, step->n);
}

static enum codec_status record(struct run *r, const struct op *op)
{
    for (uint32_t i = 0; i < op->n; i++)
        CODEC_TRY(step_of(r, &r->plan->steps[op->a + i]));
    return CODEC_OK;
}

/* Once through the writer's fields to see where each starts, then through ours. */
static enum codec_status reorder(struct run *r, const struct op *op)
{
    const int32_t *skips = &r->plan->table[op->b];
    const uint8_t *starts[CODEC_PLAN_FIELDS_MAX];

    for (int32_t i = 0; i < skips[0]; i++) {
        starts[i] = r->in.p;
        CODEC_TRY(skip(r, (uint32_t)skips[1 + i]));
    }
    const uint8_t *const end = r->in.p;
    for (uint32_t i = 0; i < op->n; i++) {
        const struct step *step = &r->plan->steps[op->a + i];
        if (step->kind == STEP_READ)
            r->in.p = starts[step->field];
        CODEC_TRY(step_of(r, step));
    }
    r->in.p = end;
    return CODEC_OK;
}

/* The items in one block, whatever the writer's blocks were: so ours is never longer than bytes_max
 * allows. The count goes before them when it is known. */
static enum codec_status close_items(struct run *r, uint8_t *start, uint64_t items)
{
    uint8_t count[CODEC_VARINT_BYTES_MAX];
    struct codec_out head = {count, count + sizeof count};

    if (r->muted > 0)
        return CODEC_OK;
    if (items > 0) {
        const enum codec_status s = codec_out_long(&head, (int64_t)items);
        assert(s == CODEC_OK);
        const size_t n = (size_t)(head.p - count), body_n = (size_t)(r->out.p - start);
        if ((size_t)(r->out.end - r->out.p) < n)
            return CODEC_NO_SPACE;
        memmove(start + n, start, body_n);
        memcpy(start, count, n);
        r->out.p += n;
    }
    return put_long(r, 0);
}

static enum codec_status items(struct run *r, const struct op *op)
{
    uint8_t *const start = r->out.p;
    uint64_t total = 0;

    for (;;) {
        struct codec_block block;
        CODEC_TRY(codec_in_block(&r->in, UINT32_MAX >> 1, &block));
        if (block.items == 0)
            break;
        for (uint32_t i = 0; i < block.items; i++) {
            if (op->kind == OP_MAP)
                CODEC_TRY(copy_view(r));
            CODEC_TRY(run(r, op->a));
        }
        CODEC_TRY(codec_in_block_end(&r->in, &block));
        total += block.items;
    }
    return close_items(r, start, total);
}

static enum codec_status symbol(struct run *r, const struct op *op)
{
    uint32_t i;

    CODEC_TRY(codec_in_index(&r->in, op->n, CODEC_BAD_ENUM, &i));
    const int32_t ours = r->plan->table[op->a + i];
    return ours < 0 ? CODEC_UNRESOLVED : put_long(r, ours);
}

/* While skipping too: the branch's number is written by INTO_UNION alone. */
static enum codec_status branch(struct run *r, const struct op *op)
{
    uint32_t i;

    CODEC_TRY(codec_in_index(&r->in, op->n, CODEC_BAD_UNION, &i));
    return run(r, (uint32_t)r->plan->table[op->a + i]);
}

static enum codec_status one(struct run *r, const struct op *op)
{
    switch (op->kind) {
    case OP_NULL:
        return CODEC_OK;
    case OP_BOOL:
        return copy_bool(r);
    case OP_FLOAT:
        return copy(r, 4);
    case OP_DOUBLE:
        return copy(r, 8);
    case OP_FIXED:
        return copy(r, op->n);
    case OP_BYTES:
        return copy_view(r);
    case OP_INT:
    case OP_LONG:
    case OP_INT_TO_FLOAT:
    case OP_INT_TO_DOUBLE:
    case OP_LONG_TO_FLOAT:
    case OP_LONG_TO_DOUBLE:
    case OP_FLOAT_TO_DOUBLE:
        return copy_number(r, op->kind);
    case OP_ENUM:
        return symbol(r, op);
    case OP_ARRAY:
    case OP_MAP:
        return items(r, op);
    case OP_RECORD:
        return record(r, op);
    case OP_REORDER:
        return reorder(r, op);
    case OP_UNION:
        return branch(r, op);
    case OP_INTO_UNION:
        CODEC_TRY(put_long(r, op->b));
        return run(r, op->a);
    case OP_FAIL:
        break;
    }
    return CODEC_UNRESOLVED;
}

static enum codec_status run(struct run *r, uint32_t op)
{
    if (r->steps == 0 || r->depth == CODEC_PLAN_DEPTH_MAX)
        return CODEC_OVER_BOUND;
    r->steps--;
    r->depth++;
    const enum codec_status s = one(r, &r->plan->ops[op]);
    r->depth--;
    return s;
}

bool codec_plan_is_same(const struct codec_plan *plan)
{
    return plan->same;
}

size_t codec_plan_scratch(const struct codec_plan *plan)
{
    return plan->out_max;
}

enum codec_status codec_plan_transcode_prefix(const struct codec_plan *plan, const uint8_t *body,
                                              size_t n, uint8_t *out, size_t cap, size_t *ret_n,
                                              size_t *ret_used)
{
    const size_t room = cap < plan->out_max ? cap : plan->out_max;
    struct run r = {
        .plan = plan,
        .in = {body, body + n},
        .out = {out, out + room},
        .steps = (n < STEPS_BYTES_MAX ? n : STEPS_BYTES_MAX) * STEPS_PER_BYTE + STEPS_SPARE,
    };

    CODEC_TRY(run(&r, plan->root));
    *ret_n = (size_t)(r.out.p - out);
    *ret_used = (size_t)(r.in.p - body);
    return CODEC_OK;
}

enum codec_status codec_plan_transcode(const struct codec_plan *plan, const uint8_t *body, size_t n,
                                       uint8_t *out, size_t cap, size_t *ret_n)
{
    size_t out_n, used;

    CODEC_TRY(codec_plan_transcode_prefix(plan, body, n, out, cap, &out_n, &used));
    if (used != n)
        return CODEC_TRAILING_BYTES;
    *ret_n = out_n;
    return CODEC_OK;
}

enum codec_status codec_plan_decode(const struct codec_plan *plan, const uint8_t *body, size_t n,
                                    uint8_t *scratch, size_t scratch_n, void *into)
{
    size_t ours_n;

    assert(plan->reader != NULL && scratch_n >= plan->out_max);
    if (plan->same)
        return plan->reader->decode(body, n, into);
    const enum codec_status s = codec_plan_transcode(plan, body, n, scratch, scratch_n, &ours_n);
    if (s != CODEC_OK) /* no room: longer than any record of ours may be */
        return s == CODEC_NO_SPACE ? CODEC_OVER_BOUND : s;
    return plan->reader->decode(scratch, ours_n, into);
}
