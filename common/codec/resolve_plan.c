/* Two schemas into a plan, and a reader's defaults into bytes. */
#include "resolve_internal.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/schema.h"
#include "codec/wire.h"

enum { STEPS_MAX = 2 * CODEC_PLAN_OPS_MAX, TABLE_MAX = 2 * CODEC_PLAN_OPS_MAX, NONE = -1 };

struct maker {
    const struct schema *w, *r;
    struct codec_plan *plan;
    uint32_t *skips; /* by the writer's node: the operation that walks it; UINT32_MAX: not yet */
    bool full;       /* a bound was reached: no plan, whatever a union's other branches say */
    char why[160];
};

static bool resolve(struct maker *m, uint32_t w, uint32_t r, unsigned depth, uint32_t *ret_op);

static bool refuse(struct maker *m, const char *what, const char *name)
{
    if (m->why[0] == '\0')
        (void)snprintf(m->why, sizeof m->why, "%.100s%.50s", what, name);
    return false;
}

static bool too_big(struct maker *m)
{
    m->full = true;
    m->why[0] = '\0'; /* what did not fit in a union's other branch is beside the point */
    return refuse(m, "it is too large or nested too deep", "");
}

static bool add_op(struct maker *m, struct op op, uint32_t *ret_op)
{
    if (m->plan->ops_n == CODEC_PLAN_OPS_MAX)
        return too_big(m);
    m->plan->ops[m->plan->ops_n] = op;
    *ret_op = m->plan->ops_n++;
    return true;
}

static bool reserve(struct maker *m, uint32_t *used, uint32_t most, size_t n, uint32_t *ret_first)
{
    if (n > most - *used)
        return too_big(m);
    *ret_first = *used;
    *used += (uint32_t)n;
    return true;
}

static uint32_t child(const struct schema *s, uint32_t node, uint32_t i)
{
    return s->children[s->nodes[node].first + i];
}

static const json_t *field(const struct schema *s, uint32_t node, size_t i)
{
    return json_array_get(json_object_get(s->nodes[node].json, "fields"), i);
}

static const char *name_of(const json_t *json)
{
    return json_string_value(json_object_get(json, "name"));
}

static const char *plain_name(const char *full)
{
    const char *dot = strrchr(full, '.');

    return dot != NULL ? dot + 1 : full;
}

/* ---- defaults ---- */

static bool put_default(struct maker *m, uint32_t node, const json_t *v, struct codec_out *out,
                        unsigned depth);

/* A bytes' or fixed's default: each code point up to U+00FF is one byte. */
static bool put_bytes(const json_t *v, bool sized, int64_t size, struct codec_out *out)
{
    const char *text = json_string_value(v);
    const size_t n = json_string_length(v);
    size_t bytes = 0;

    if (json_typeof(v) != JSON_STRING)
        return false;
    for (size_t i = 0; i < n; i++)
        bytes += ((unsigned char)text[i] & 0xC0) != 0x80;
    if (sized ? size != (int64_t)bytes : codec_out_long(out, (int64_t)bytes) != CODEC_OK)
        return false;
    for (size_t i = 0; i < n; i++) {
        unsigned c = (unsigned char)text[i];
        if (c >= 0xC4) /* beyond U+00FF */
            return false;
        if (c >= 0xC2)
            c = (c & 3) << 6 |
                ((unsigned char)text[++i] & 0x3F); /* jansson has checked the UTF-8 */
        const uint8_t byte = (uint8_t)c;
        if (codec_out_copy(out, &byte, 1) != CODEC_OK)
            return false;
    }
    return true;
}

static bool put_record(struct maker *m, uint32_t node, const json_t *v, struct codec_out *out,
                       unsigned depth)
{
    if (json_typeof(v) != JSON_OBJECT)
        return false;
    for (uint32_t i = 0; i < m->r->nodes[node].n; i++) {
        const json_t *f = field(m->r, node, i);
        const json_t *value = json_object_get(v, name_of(f));
        if (value == NULL)
            value = json_object_get(f, "default");
        if (value == NULL || !put_default(m, child(m->r, node, i), value, out, depth + 1))
            return false;
    }
    return true;
}

static bool put_array(struct maker *m, uint32_t node, const json_t *v, struct codec_out *out,
                      unsigned depth)
{
    const size_t n = json_array_size(v);

    if (json_typeof(v) != JSON_ARRAY || (n > 0 && codec_out_long(out, (int64_t)n) != CODEC_OK))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!put_default(m, child(m->r, node, 0), json_array_get(v, i), out, depth + 1))
            return false;
    return codec_out_long(out, 0) == CODEC_OK;
}

/* Only the empty one: our records hold no maps. */
static bool put_map(const json_t *v, struct codec_out *out)
{
    return json_typeof(v) == JSON_OBJECT && json_object_size(v) == 0 &&
           codec_out_long(out, 0) == CODEC_OK;
}

static bool put_symbol(const json_t *definition, const json_t *v, struct codec_out *out)
{
    const json_t *symbols = json_object_get(definition, "symbols");

    for (size_t i = 0; i < json_array_size(symbols); i++)
        if (json_equal(json_array_get(symbols, i), v))
            return codec_out_long(out, (int64_t)i) == CODEC_OK;
    return false;
}

/* By the first branch, as the specification had it before 1.12; now any branch may be meant. */
static bool put_union(struct maker *m, uint32_t node, const json_t *v, struct codec_out *out,
                      unsigned depth)
{
    for (uint32_t i = 0; i < m->r->nodes[node].n; i++) {
        struct codec_out attempt = *out;
        if (codec_out_long(&attempt, i) == CODEC_OK &&
            put_default(m, child(m->r, node, i), v, &attempt, depth + 1)) {
            *out = attempt;
            return true;
        }
    }
    return false;
}

static bool put_number(enum type type, const json_t *v, struct codec_out *out)
{
    const double d = json_number_value(v);
    const float f = (float)d;
    const json_int_t i = json_integer_value(v);
    const bool whole = json_typeof(v) == JSON_INTEGER;

    if (type == T_DOUBLE || type == T_FLOAT)
        return (whole || json_typeof(v) == JSON_REAL) &&
               (type == T_DOUBLE ? codec_out_copy(out, &d, sizeof d)
                                 : codec_out_copy(out, &f, sizeof f)) == CODEC_OK;
    return whole && (type == T_LONG || (i >= INT32_MIN && i <= INT32_MAX)) &&
           codec_out_long(out, i) == CODEC_OK;
}

static bool put_default(struct maker *m, uint32_t node, const json_t *v, struct codec_out *out,
                        unsigned depth)
{
    const struct node *n = &m->r->nodes[node];
    const json_type is = json_typeof(v); /* of nothing there is no default: v is not NULL */

    if (depth > CODEC_SCHEMA_DEPTH_MAX)
        return false;
    switch (n->type) {
    case T_NULL:
        return is == JSON_NULL;
    case T_BOOL:
        return (is == JSON_TRUE || is == JSON_FALSE) &&
               codec_out_bool(out, is == JSON_TRUE) == CODEC_OK;
    case T_INT:
    case T_LONG:
    case T_FLOAT:
    case T_DOUBLE:
        return put_number(n->type, v, out);
    case T_STRING:
        return is == JSON_STRING && /* shorter than the schema's text: 32 bits hold its length */
               codec_out_view(out, json_string_value(v), (uint32_t)json_string_length(v),
                              UINT32_MAX) == CODEC_OK;
    case T_BYTES:
    case T_FIXED:
        return put_bytes(v, n->type == T_FIXED, n->size, out);
    case T_ENUM:
        return put_symbol(n->json, v, out);
    case T_ARRAY:
        return put_array(m, node, v, out, depth);
    case T_MAP:
        return put_map(v, out);
    case T_RECORD:
        return put_record(m, node, v, out, depth);
    case T_UNION:
        return put_union(m, node, v, out, depth);
    }
    return false;
}

/* A field that the writer lacks. */
static bool add_default(struct maker *m, uint32_t node, uint32_t i, struct step *step)
{
    struct codec_plan *p = m->plan;
    const json_t *f = field(m->r, node, i), *v = json_object_get(f, "default");
    struct codec_out out = {p->constants + p->constants_n, p->constants + CODEC_PLAN_CONSTANTS_MAX};

    if (v == NULL)
        return refuse(m, "it lacks a field that has no default: ", name_of(f));
    if (!put_default(m, child(m->r, node, i), v, &out, 0))
        return refuse(m, "our default does not fit its type: ", name_of(f));
    const size_t n = (size_t)(out.p - p->constants) - p->constants_n;
    *step = (struct step){.kind = STEP_CONSTANT, .at = (uint32_t)p->constants_n, .n = (uint32_t)n};
    p->constants_n += n;
    return true;
}

/* ---- walking what is not wanted ---- */

static const enum op_kind copies[] = {
    [T_NULL] = OP_NULL,     [T_BOOL] = OP_BOOL,     [T_INT] = OP_INT,     [T_LONG] = OP_LONG,
    [T_FLOAT] = OP_FLOAT,   [T_DOUBLE] = OP_DOUBLE, [T_BYTES] = OP_BYTES, [T_STRING] = OP_BYTES,
    [T_FIXED] = OP_FIXED,   [T_ENUM] = OP_ENUM,     [T_ARRAY] = OP_ARRAY, [T_MAP] = OP_MAP,
    [T_RECORD] = OP_RECORD, [T_UNION] = OP_UNION,
};

static bool walk(struct maker *m, uint32_t w, unsigned depth, uint32_t *ret_op);

static bool walk_children(struct maker *m, uint32_t w, struct op *op, unsigned depth)
{
    const struct node *n = &m->w->nodes[w];
    struct codec_plan *p = m->plan;

    if (n->type == T_ARRAY || n->type == T_MAP)
        return walk(m, child(m->w, w, 0), depth + 1, &op->a);
    op->n = n->type == T_FIXED ? (uint32_t)n->size : n->n;
    if (n->type == T_RECORD) {
        if (!reserve(m, &p->steps_n, STEPS_MAX, n->n, &op->a))
            return false;
        for (uint32_t i = 0; i < n->n; i++) {
            p->steps[op->a + i] = (struct step){.kind = STEP_READ, .field = i};
            if (!walk(m, child(m->w, w, i), depth + 1, &p->steps[op->a + i].op))
                return false;
        }
    }
    if (n->type == T_UNION || n->type == T_ENUM) {
        if (!reserve(m, &p->table_n, TABLE_MAX, n->n, &op->a))
            return false;
        for (uint32_t i = 0; i < n->n; i++) {
            uint32_t branch = i;
            if (n->type == T_UNION && !walk(m, child(m->w, w, i), depth + 1, &branch))
                return false;
            p->table[op->a + i] = (int32_t)branch;
        }
    }
    return true;
}

/* The operation that reads a writer's value as it is: what is skipped is checked all the same. */
static bool walk(struct maker *m, uint32_t w, unsigned depth, uint32_t *ret_op)
{
    struct op op = {.kind = copies[m->w->nodes[w].type]};

    if (depth > CODEC_SCHEMA_DEPTH_MAX)
        return too_big(m);
    if (m->skips[w] == UINT32_MAX) {
        uint32_t at = 0;
        if (!add_op(m, op, &at))
            return false;
        m->skips[w] = at; /* before its children: a type may hold itself */
        if (!walk_children(m, w, &op, depth))
            return false;
        m->plan->ops[at] = op;
    }
    *ret_op = m->skips[w];
    return true;
}

/* ---- resolution ---- */

static bool named_alike(const struct node *w, const struct node *r)
{
    if (strcmp(plain_name(w->name), plain_name(r->name)) == 0)
        return true;
    const json_t *aliases = json_object_get(r->json, "aliases");
    for (size_t i = 0; i < json_array_size(aliases); i++) {
        const char *alias = json_string_value(json_array_get(aliases, i));
        if (alias != NULL && strcmp(plain_name(alias), plain_name(w->name)) == 0)
            return true;
    }
    return false;
}

/* How alike two types are at first sight: 3 the same name, 2 the same type, 1 promoted, 0 not. */
static int alike(const struct node *w, const struct node *r)
{
    if (w->type == r->type) {
        if (w->type != T_RECORD && w->type != T_ENUM && w->type != T_FIXED)
            return 3;
        if (w->type == T_FIXED && w->size != r->size)
            return 0;
        return strcmp(w->name, r->name) == 0 ? 3 : named_alike(w, r) ? 2 : 0;
    }
    const bool number = w->type >= T_INT && w->type <= T_FLOAT && r->type >= T_LONG &&
                        r->type <= T_DOUBLE && r->type > w->type;
    const bool text =
        (w->type == T_STRING && r->type == T_BYTES) || (w->type == T_BYTES && r->type == T_STRING);
    return number || text ? 1 : 0;
}

static enum op_kind promoted(enum type w, enum type r)
{
    if (w == T_LONG)
        return r == T_FLOAT ? OP_LONG_TO_FLOAT : OP_LONG_TO_DOUBLE;
    if (w == T_FLOAT)
        return OP_FLOAT_TO_DOUBLE;
    if (w != T_INT)
        return OP_BYTES;
    if (r == T_LONG) /* its bytes, but they must be in an int's bounds */
        return OP_INT;
    return r == T_FLOAT ? OP_INT_TO_FLOAT : OP_INT_TO_DOUBLE;
}

static int find_field(const struct maker *m, uint32_t w, const char *name)
{
    for (uint32_t i = 0; i < m->w->nodes[w].n; i++)
        if (strcmp(name_of(field(m->w, w, i)), name) == 0)
            return (int)i;
    return NONE;
}

/* The writer's field for the reader's: by its name, else by its aliases. */
static int source_of(const struct maker *m, uint32_t w, const json_t *reader_field)
{
    const json_t *aliases = json_object_get(reader_field, "aliases");
    int found = find_field(m, w, name_of(reader_field));

    for (size_t i = 0; i < json_array_size(aliases) && found == NONE; i++) {
        const char *alias = json_string_value(json_array_get(aliases, i));
        if (alias != NULL)
            found = find_field(m, w, alias);
    }
    return found;
}

/* One step of the reader's field i. */
static bool add_field(struct maker *m, uint32_t w, uint32_t r, uint32_t i, int from, unsigned depth,
                      struct step *step)
{
    if (from == NONE)
        return add_default(m, r, i, step);
    const uint32_t f = (uint32_t)from;
    *step = (struct step){.kind = STEP_READ, .field = f};
    if (!resolve(m, child(m->w, w, f), child(m->r, r, i), depth + 1, &step->op))
        return refuse(m, "a field has another type: ", name_of(field(m->r, r, i)));
    return true;
}

/* The reader's fields stand in the writer's order: one pass, what is not wanted skipped on the way.
 */
static bool in_order(struct maker *m, uint32_t w, uint32_t r, const int *from, unsigned depth,
                     struct op *op)
{
    const uint32_t ours = m->r->nodes[r].n, theirs = m->w->nodes[w].n;
    uint32_t next = 0, at;

    if (!reserve(m, &m->plan->steps_n, STEPS_MAX, ours + theirs, &op->a))
        return false;
    at = op->a;
    for (uint32_t i = 0;; i++) {
        const uint32_t stop = i == ours ? theirs : from[i] == NONE ? next : (uint32_t)from[i];
        for (; next < stop; next++) {
            struct step *skip = &m->plan->steps[at++];
            *skip = (struct step){.kind = STEP_SKIP};
            if (!walk(m, child(m->w, w, next), 0, &skip->op))
                return false;
        }
        if (i == ours)
            break;
        if (!add_field(m, w, r, i, from[i], depth, &m->plan->steps[at++]))
            return false;
        next += from[i] != NONE;
    }
    op->kind = OP_RECORD;
    op->n = at - op->a;
    return true;
}

static bool reordered(struct maker *m, uint32_t w, uint32_t r, const int *from, unsigned depth,
                      struct op *op)
{
    const uint32_t ours = m->r->nodes[r].n, theirs = m->w->nodes[w].n;

    if (!reserve(m, &m->plan->table_n, TABLE_MAX, theirs + 1, &op->b) ||
        !reserve(m, &m->plan->steps_n, STEPS_MAX, ours, &op->a))
        return false;
    m->plan->table[op->b] = (int32_t)theirs; /* how many skips follow */
    for (uint32_t i = 0; i < theirs; i++) {
        uint32_t skip;
        if (!walk(m, child(m->w, w, i), 0, &skip))
            return false;
        m->plan->table[op->b + 1 + i] = (int32_t)skip;
    }
    for (uint32_t i = 0; i < ours; i++)
        if (!add_field(m, w, r, i, from[i], depth, &m->plan->steps[op->a + i]))
            return false;
    op->kind = OP_REORDER;
    op->n = ours;
    return true;
}

static bool resolve_record(struct maker *m, uint32_t w, uint32_t r, unsigned depth, struct op *op)
{
    int from[CODEC_PLAN_FIELDS_MAX], newest = NONE;
    bool rising = true;

    for (uint32_t i = 0; i < m->r->nodes[r].n; i++) {
        from[i] = source_of(m, w, field(m->r, r, i));
        if (from[i] == NONE)
            continue;
        rising &= from[i] > newest;
        newest = from[i];
    }
    return rising ? in_order(m, w, r, from, depth, op) : reordered(m, w, r, from, depth, op);
}

static bool resolve_enum(struct maker *m, uint32_t w, uint32_t r, struct op *op)
{
    const json_t *theirs = json_object_get(m->w->nodes[w].json, "symbols");
    const json_t *ours = json_object_get(m->r->nodes[r].json, "symbols");
    const json_t *fallback = json_object_get(m->r->nodes[r].json, "default");

    op->n = m->w->nodes[w].n;
    if (!reserve(m, &m->plan->table_n, TABLE_MAX, op->n, &op->a))
        return false;
    for (uint32_t i = 0; i < op->n; i++) {
        int32_t found = NONE, spare = NONE;
        for (size_t k = 0; k < json_array_size(ours) && found == NONE; k++) {
            if (json_equal(json_array_get(ours, k), json_array_get(theirs, i)))
                found = (int32_t)k;
            if (fallback != NULL && json_equal(json_array_get(ours, k), fallback))
                spare = (int32_t)k;
        }
        m->plan->table[op->a + i] = found != NONE ? found : spare;
    }
    return true;
}

/* Branch by branch: one that ours has no place for fails when it comes, not before. */
static bool resolve_union(struct maker *m, uint32_t w, uint32_t r, unsigned depth, struct op *op)
{
    bool some = false;

    op->n = m->w->nodes[w].n;
    if (!reserve(m, &m->plan->table_n, TABLE_MAX, op->n, &op->a))
        return false;
    for (uint32_t i = 0; i < op->n; i++) {
        uint32_t branch = 0;
        const bool ok = resolve(m, child(m->w, w, i), r, depth + 1, &branch);
        some |= ok;
        if (m->full || (!ok && !add_op(m, (struct op){.kind = OP_FAIL}, &branch)))
            return false;
        m->plan->table[op->a + i] = (int32_t)branch;
    }
    if (!some)
        return refuse(m, "no branch of its union fits", "");
    m->why[0] = '\0';
    return true;
}

static bool resolve_into_union(struct maker *m, uint32_t w, uint32_t r, unsigned depth,
                               struct op *op)
{
    int best = 0;

    for (uint32_t i = 0; i < m->r->nodes[r].n; i++) {
        const int how = alike(&m->w->nodes[w], &m->r->nodes[child(m->r, r, i)]);
        if (how > best) {
            best = how;
            op->b = i;
        }
    }
    if (best == 0)
        return refuse(m, "our union has no branch for it", "");
    return resolve(m, w, child(m->r, r, op->b), depth + 1, &op->a);
}

static bool resolve_one(struct maker *m, uint32_t w, uint32_t r, unsigned depth, struct op *op)
{
    const struct node *theirs = &m->w->nodes[w], *ours = &m->r->nodes[r];

    if (theirs->type == T_UNION)
        return resolve_union(m, w, r, depth, op);
    if (ours->type == T_UNION) {
        op->kind = OP_INTO_UNION;
        return resolve_into_union(m, w, r, depth, op);
    }
    if (theirs->logical != NULL && ours->logical != NULL &&
        strcmp(theirs->logical, ours->logical) != 0)
        return refuse(m, "another unit or meaning: ", theirs->logical);
    switch (alike(theirs, ours)) {
    case 0:
        return refuse(m, "types that do not go together", "");
    case 1:
        op->kind = promoted(theirs->type, ours->type);
        return true;
    default:
        break;
    }
    switch (theirs->type) {
    case T_RECORD:
        return resolve_record(m, w, r, depth, op);
    case T_ENUM:
        return resolve_enum(m, w, r, op);
    case T_ARRAY:
    case T_MAP:
        return resolve(m, child(m->w, w, 0), child(m->r, r, 0), depth + 1, &op->a);
    case T_FIXED:
        op->n = (uint32_t)theirs->size;
        return true;
    default:
        return true;
    }
}

static bool resolve(struct maker *m, uint32_t w, uint32_t r, unsigned depth, uint32_t *ret_op)
{
    struct op op = {.kind = copies[m->w->nodes[w].type]};

    if (depth > CODEC_SCHEMA_DEPTH_MAX)
        return too_big(m);
    if (!resolve_one(m, w, r, depth, &op))
        return false;
    return add_op(m, op, ret_op);
}

/* ---- the whole ---- */

void codec_plan_free(struct codec_plan *p)
{
    if (p == NULL)
        return;
    free(p->ops);
    free(p->steps);
    free(p->table);
    free(p->constants);
    free(p);
}

static struct codec_plan *plan_alloc(void)
{
    struct codec_plan *p = calloc(1, sizeof *p);

    if (p == NULL)
        return NULL;
    p->ops = malloc(CODEC_PLAN_OPS_MAX * sizeof *p->ops);
    p->steps = malloc(STEPS_MAX * sizeof *p->steps);
    p->table = malloc(TABLE_MAX * sizeof *p->table);
    p->constants = malloc(CODEC_PLAN_CONSTANTS_MAX);
    if (p->ops == NULL || p->steps == NULL || p->table == NULL || p->constants == NULL) {
        codec_plan_free(p);
        return NULL;
    }
    return p;
}

static void *shrunk(void *p, size_t n)
{
    void *smaller = realloc(p, n > 0 ? n : 1);

    return smaller != NULL ? smaller : p;
}

/* What is kept for as long as the process lives is what is used. */
static void shrink(struct codec_plan *p)
{
    p->ops = shrunk(p->ops, p->ops_n * sizeof *p->ops);
    p->steps = shrunk(p->steps, p->steps_n * sizeof *p->steps);
    p->table = shrunk(p->table, p->table_n * sizeof *p->table);
    p->constants = shrunk(p->constants, p->constants_n);
}

static enum err_class make(const char *name, const struct schema *w, const struct schema *r,
                           struct codec_plan **ret_plan, struct err *err)
{
    struct maker m = {.w = w, .r = r, .plan = plan_alloc()};
    enum err_class e = ERR_OK;

    m.skips = malloc((w->nodes_n + 1) * sizeof *m.skips);
    if (m.plan == NULL || m.skips == NULL) {
        e = err_set(err, ERR_FATAL, "%.96s: out of memory", name);
    } else {
        memset(m.skips, 0xff, (w->nodes_n + 1) * sizeof *m.skips);
        if (!resolve(&m, 0, 0, 0, &m.plan->root))
            e = err_set(err, ERR_REJECT, "%.80s: a schema that ours cannot be read from: %s", name,
                        m.why);
    }
    if (e == ERR_OK) {
        m.plan->same = codec_schema_same(w->json, r->json);
        shrink(m.plan);
        *ret_plan = m.plan;
    } else {
        codec_plan_free(m.plan);
    }
    free(m.skips);
    return e;
}

enum err_class codec_plan_between(const char *name, const char *writer, size_t writer_n,
                                  const char *reader, size_t reader_n, size_t out_max,
                                  struct codec_plan **ret_plan, struct err *err)
{
    struct schema w, r = {.wrong = NULL};
    struct codec_plan *plan = NULL;
    enum err_class e;

    if (!codec_schema_parse(writer, writer_n, &w))
        e = err_set(err, ERR_REJECT, "%.96s: unreadable schema: %s", name, w.wrong);
    else if (!codec_schema_parse(reader, reader_n, &r))
        e = err_set(err, ERR_REJECT, "%.96s: our schema is unreadable: %s", name, r.wrong);
    else
        e = make(name, &w, &r, &plan, err);
    codec_schema_free(&w);
    codec_schema_free(&r);
    if (plan != NULL) {
        plan->out_max = out_max;
        *ret_plan = plan;
    }
    return e;
}

enum err_class codec_plan_new(const char *name, const char *json, size_t json_n,
                              const struct codec_record *reader, struct codec_plan **ret_plan,
                              struct err *err)
{
    struct codec_plan *plan = NULL;
    const enum err_class e = codec_plan_between(
        name, json, json_n, reader->schema, strlen(reader->schema), reader->bytes_max, &plan, err);

    if (plan != NULL) {
        plan->reader = reader;
        *ret_plan = plan;
    }
    return e;
}
