#!/usr/bin/env python3
"""avrogen: an Avro schema in, C structs with bounded decoders and encoders out.

    avrogen.py --out DIR schemas/l2_bar.avsc        writes DIR/l2_bar.h and DIR/l2_bar.c
    avrogen.py --out DIR --records schemas/*.avsc   writes DIR/records.c, the table of all records
    avrogen.py --out DIR --released schemas/released/*/*.avsc   writes DIR/released.c, every schema that a message may have

What is accepted, and what each becomes, stands in README.md beside this file. A string, bytes or array without a bound
(max_bytes, max_items) is refused: every buffer of the system has one. Equal input gives equal output.
"""
import argparse
import json
import pathlib
import re
import sys

PRIMITIVES = {  # Avro: (C type, descriptor kind, bytes at most, bytes at least)
    "boolean": ("bool", "BOOL", 1, 1),
    "int": ("int32_t", "INT", 5, 1),
    "long": ("int64_t", "LONG", 10, 1),
    "float": ("float", "FLOAT", 4, 4),
    "double": ("double", "DOUBLE", 8, 8),
    "string": ("struct codec_str", "STRING", None, 1),
    "bytes": ("struct codec_bytes", "BYTES", None, 1),
}
SUFFIX = {"boolean": "bool"}  # of codec_in_… and codec_out_…
KEYWORDS = set(
    "auto break case char const continue default do double else enum extern float for goto if inline int long register "
    "restrict return short signed sizeof static struct switch typedef union unsigned void volatile while bool true "
    "false".split()
)
BOUND_MAX = 1 << 20  # of one string, bytes or array: what is inline in a struct stays small
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class SchemaError(Exception):
    """What is wrong, where, and what to do about it."""


def snake(name):
    """L2Snapshot -> l2_snapshot, HeartbeatState -> heartbeat_state."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def varint_bytes(length):
    """Bytes of `length` as an Avro long (zigzag doubles it)."""
    zigzag, n = 2 * length, 1
    while zigzag >= 0x80:
        zigzag >>= 7
        n += 1
    return n


class Type:
    """One type of the schema. `kind` is Avro's word; a nullable union is its other branch, with the flag on the Field."""

    def __init__(self, kind, **attributes):
        self.kind = kind
        self.name = self.full_name = self.logical = self.items = self.bound = None
        self.fields, self.symbols, self.size = [], [], 0
        self.__dict__.update(attributes)

    @property
    def c_name(self):
        return f"codec_{snake(self.name)}"

    @property
    def c_type(self):
        if self.kind in PRIMITIVES:
            return PRIMITIVES[self.kind][0]
        return {"record": "struct ", "enum": "enum "}[self.kind] + self.c_name

    @property
    def kind_name(self):
        return "CODEC_KIND_" + (PRIMITIVES[self.kind][1] if self.kind in PRIMITIVES else self.kind.upper())

    @property
    def bytes_max(self):
        if self.kind in ("string", "bytes"):
            return varint_bytes(self.bound) + self.bound
        if self.kind in PRIMITIVES:
            return PRIMITIVES[self.kind][2]
        if self.kind == "fixed":
            return self.size
        if self.kind == "enum":
            return varint_bytes(len(self.symbols) - 1)
        if self.kind == "array":
            return varint_bytes(self.bound) + self.bound * self.items.bytes_max + 1
        return sum(f.type.bytes_max + (1 if f.nullable else 0) for f in self.fields)

    @property
    def all_doubles(self):
        """Laid out in C as on the wire: may be copied in one piece."""
        if self.kind == "double":
            return True
        return self.kind == "record" and all(f.type.kind == "double" and not f.nullable for f in self.fields)


class Field:
    def __init__(self, name, doc, type_, nullable, null_first):
        self.name, self.doc, self.type = name, doc, type_
        self.nullable, self.null_first = nullable, null_first

    @property
    def c_name(self):
        return self.name + ("_us" if self.type.logical == "timestamp-micros" else "")


class Parser:
    """JSON to Types. `named` holds the records, enums and fixeds in the order of their definition."""

    def __init__(self):
        self.named = {}

    def fail(self, where, what, remedy):
        raise SchemaError(f"{where}: {what}: {remedy}")

    def bound_of(self, where, key, *holders):
        for holder in holders:
            if isinstance(holder, dict) and key in holder:
                bound = holder[key]
                if isinstance(bound, bool) or not isinstance(bound, int) or not 1 <= bound <= BOUND_MAX:
                    self.fail(where, f"{key} is {bound!r}", f"give 1 to {BOUND_MAX}")
                return bound
        return self.fail(where, "has no bound", f'add "{key}": every buffer has one')

    def type_of(self, schema, where, namespace, holder):
        """`holder` is the field around the type: bounds may stand there or on the type itself."""
        if isinstance(schema, list):
            self.fail(where, "is a union within an array or another union", "only a field may be [null, X]")
        word = schema["type"] if isinstance(schema, dict) else schema
        if isinstance(word, (dict, list)):  # {"type": {"type": …}}
            return self.type_of(word, where, namespace, holder)
        if word in ("string", "bytes"):
            return Type(word, bound=self.bound_of(where, "max_bytes", schema, holder))
        if word in PRIMITIVES:
            return Type(word, logical=self.logical_of(schema, word, where))
        if word == "array":
            items = self.type_of(schema["items"], f"{where}[]", namespace, schema)
            if items.kind == "array":
                self.fail(where, "is an array of arrays", "put a record between them")
            return Type("array", items=items, bound=self.bound_of(where, "max_items", schema, holder))
        if word in ("record", "enum", "fixed"):
            return self.named_of(schema, where, namespace)
        full = word if "." in word else f"{namespace}.{word}" if namespace else word
        if full not in self.named:
            self.fail(where, f"unknown type {word!r}", "define it before its use; maps and null alone are not supported")
        return self.named[full]

    def logical_of(self, schema, word, where):
        logical = schema.get("logicalType") if isinstance(schema, dict) else None
        if logical is not None and (logical, word) != ("timestamp-micros", "long"):
            self.fail(where, f"logical type {logical!r} of {word}", "only timestamp-micros of long is supported")
        return logical

    def named_of(self, schema, where, namespace):
        name = schema["name"]
        if "." in name:
            namespace, _, name = name.rpartition(".")
        namespace = schema.get("namespace", namespace)
        full = f"{namespace}.{name}" if namespace else name
        if not NAME.fullmatch(name):
            self.fail(where, f"bad name {name!r}", "letters, digits, underscores")
        if full in self.named:
            self.fail(where, f"{full} is defined twice", "name the first one")
        made = Type(schema["type"], name=name, full_name=full)
        if made.kind == "enum":
            made.symbols = schema["symbols"]
            if not made.symbols or len(set(made.symbols)) != len(made.symbols):
                self.fail(where, "an enum's symbols are missing or doubled", "list each once")
        elif made.kind == "fixed":
            made.size = schema["size"]
            if not isinstance(made.size, int) or not 1 <= made.size <= BOUND_MAX:
                self.fail(where, f"size is {made.size!r}", f"give 1 to {BOUND_MAX}")
        else:
            made.fields = [self.field_of(f, f"{full}.{f['name']}", namespace) for f in schema["fields"]]
            if not made.fields:
                self.fail(where, "a record without fields", "an array of them would have no bound in bytes")
        self.named[full] = made  # after the fields: a record cannot hold itself
        return made

    def field_of(self, schema, where, namespace):
        name, inner = schema["name"], schema["type"]
        if not NAME.fullmatch(name) or name in KEYWORDS:
            self.fail(where, f"bad name {name!r}", "letters, digits, underscores, and no word of C")
        nullable = null_first = False
        if isinstance(inner, list):
            if len(inner) != 2 or inner.count("null") != 1:
                self.fail(where, "is a union other than of null and one type", "split it into several fields")
            nullable, null_first = True, inner[0] == "null"
            inner = inner[1] if null_first else inner[0]
        if "default" in schema and schema["default"] is None and not null_first:
            self.fail(where, "defaults to null, which is not its first branch", 'write ["null", X]')
        made = self.type_of(inner, where, namespace, schema)
        return Field(name, schema.get("doc"), made, nullable, null_first)


def canonical(schema, namespace=""):
    """The Parsing Canonical Form of Avro's specification, as text."""
    quote = json.dumps
    if isinstance(schema, str):
        primitive = schema in PRIMITIVES or schema == "null"
        return quote(schema if primitive or "." in schema or not namespace else f"{namespace}.{schema}")
    if isinstance(schema, list):
        return "[" + ",".join(canonical(branch, namespace) for branch in schema) + "]"
    word = schema["type"]
    if isinstance(word, (dict, list)):
        return canonical(word, namespace)
    if word in PRIMITIVES or word == "null":
        return quote(word)
    if word in ("array", "map"):
        key = "items" if word == "array" else "values"
        return f'{{"type":"{word}","{key}":{canonical(schema[key], namespace)}}}'
    if word not in ("record", "enum", "fixed"):
        return canonical(word, namespace)
    name = schema["name"]
    namespace = name.rpartition(".")[0] if "." in name else schema.get("namespace", namespace)
    full = name if "." in name or not namespace else f"{namespace}.{name}"
    head = f'{{"name":{quote(full)},"type":"{word}"'
    if word == "enum":
        return head + ',"symbols":[' + ",".join(quote(s) for s in schema["symbols"]) + "]}"
    if word == "fixed":
        return head + f',"size":{schema["size"]}}}'
    fields = (f'{{"name":{quote(f["name"])},"type":{canonical(f["type"], namespace)}}}' for f in schema["fields"])
    return head + ',"fields":[' + ",".join(fields) + "]}"


def fingerprint(data):
    """CRC-64-AVRO (Rabin) of bytes, as in Avro's specification."""
    empty = 0xC15D213AA4D7A795
    table = []
    for i in range(256):
        fp = i
        for _ in range(8):
            fp = fp >> 1 ^ (empty if fp & 1 else 0)
        table.append(fp)
    fp = empty
    for byte in data:
        fp = fp >> 8 ^ table[(fp ^ byte) & 0xFF]
    return fp


class Schema:
    """One file: its types, in order of definition; the last is the record of the file."""

    def __init__(self, path):
        self.path, self.stem = path, path.stem
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.stem):
            raise SchemaError(f"{path}: the file's name is the C prefix: use a-z, 0-9, _")
        try:
            self.json = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=no_doubles)
            parser = Parser()
            self.top = parser.type_of(self.json, path.name, "", {})
        except (KeyError, TypeError, ValueError) as e:
            raise SchemaError(f"{path}: not a schema that can be read: {type(e).__name__} {e}") from e
        if self.top.kind != "record" or snake(self.top.name) != self.stem:
            raise SchemaError(f"{path}: holds {self.top.name or self.top.kind}: name the file after its one record")
        self.types = list(parser.named.values())
        self.prefix = f"codec_{self.stem}"
        self.text = json.dumps(self.json, separators=(",", ":"), ensure_ascii=True)
        self.fingerprint = fingerprint(canonical(self.json).encode())


def no_doubles(pairs):
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError(f"a key stands twice among {[k for k, _ in pairs]}")
    return made


# ---- the header


def comment(doc):
    return f" /* {doc.replace('*/', '* /')} */" if doc else ""


def member(field):
    t, name, out = field.type, field.c_name, []
    if field.nullable:
        out.append(f"    bool has_{field.name};")
    if t.kind == "array":
        out.append(f"    uint32_t {name}_n;")
        item = "uint8_t" if t.items.kind == "fixed" else t.items.c_type
        tail = f"[{t.items.size}]" if t.items.kind == "fixed" else ""
        out.append(f"    {item} {name}[{t.bound}]{tail};{comment(field.doc)}")
    elif t.kind == "fixed":
        out.append(f"    uint8_t {name}[{t.size}];{comment(field.doc)}")
    else:
        out.append(f"    {t.c_type} {name};{comment(field.doc)}")
    return out


def symbol_name(enum, symbol):
    return f"{enum.c_name}_{snake(symbol)}".upper()


def declaration(t):
    if t.kind == "enum":
        guard = f"{t.c_name}_ENUM".upper()
        lines = [f"#ifndef {guard} /* an enum may stand in several schemas */", f"#define {guard}", f"enum {t.c_name} {{"]
        lines += [f"    {symbol_name(t, s)}," for s in t.symbols]
        lines += ["};", "", "/* The schema's word; \"?\" for a number that is no symbol. */"]
        lines += [f"static inline const char *{t.c_name}_name(enum {t.c_name} v)", "{"]
        lines += ["    static const char *const names[] = {"]
        lines += [f'        "{s}",' for s in t.symbols]
        lines += ["    };", "", f'    return (uint32_t)v < {len(t.symbols)} ? names[v] : "?";', "}", "#endif", ""]
        return lines
    if t.kind == "record":
        lines = [f"struct {t.c_name} {{"]
        for f in t.fields:
            lines += member(f)
        lines.append("};")
        if t.all_doubles:
            size = 8 * len(t.fields)
            lines.append(f'static_assert(sizeof(struct {t.c_name}) == {size}, "{t.c_name}: laid out as on the wire");')
        return lines + [""]
    return []


def header(schema):
    p, guard, top = schema.prefix, f"{schema.prefix}_H".upper(), schema.top
    out = [
        f"/* Generated by tools/avrogen from schemas/{schema.stem}.avsc: do not edit. */",
        f"#ifndef {guard}",
        f"#define {guard}",
        "",
        "#include <assert.h>",
        "",
        '#include "codec/codec.h"',
        "",
    ]
    for t in schema.types:
        if t is top and schema.json.get("doc"):
            out.append(f"/* {schema.json['doc'].replace('*/', '* /')} */")
        out += declaration(t)
    out += [
        "/* No encoded record is longer; a frame adds CODEC_FRAME_BYTES. */",
        f"#define {p.upper()}_BYTES_MAX {top.bytes_max}",
        "",
        "/*",
        " * Decodes exactly n bytes. On anything but OK `into` holds rubbish. Strings and bytes are views into `buf`.",
        " * _decode_prefix allows bytes to follow and says how many were used.",
        " */",
        f"enum codec_status {p}_decode(const uint8_t *buf, size_t n, struct {p} *into) MUST_CHECK;",
        f"enum codec_status {p}_decode_prefix(const uint8_t *buf, size_t n, struct {p} *into,",
        "    size_t *ret_used) MUST_CHECK;",
        "",
        "/* Encodes into at most cap bytes. Refuses what _decode would refuse. `*ret_n` is untouched unless OK. */",
        f"enum codec_status {p}_encode(const struct {p} *v, uint8_t *buf, size_t cap, size_t *ret_n) MUST_CHECK;",
        "",
        f"extern const uint64_t {p}_fingerprint;",
        f"extern const char {p}_schema[];",
        f"extern const struct codec_field {p}_fields[{len(top.fields)}];",
        f"extern const struct codec_record {p}_record;",
        "",
        "/* The same with the single-object frame around it. */",
        f"static inline enum codec_status {p}_unframe(const uint8_t *buf, size_t n, struct {p} *into)",
        "{",
        f"    return codec_unframe(&{p}_record, buf, n, into);",
        "}",
        "",
        f"static inline enum codec_status {p}_frame(const struct {p} *v, uint8_t *buf, size_t cap, size_t *ret_n)",
        "{",
        f"    return codec_frame(&{p}_record, v, buf, cap, ret_n);",
        "}",
        "",
        "#endif",
        "",
    ]
    return "\n".join(out)


# ---- the source


def get_value(t, target, indent):
    """Lines that read one value of type t into the lvalue `target`."""
    pad = "    " * indent
    if t.kind in ("string", "bytes"):
        return [f"{pad}CODEC_TRY(codec_in_{t.kind}(in, {t.bound}, &{target}));"]
    if t.kind in PRIMITIVES:
        return [f"{pad}CODEC_TRY(codec_in_{SUFFIX.get(t.kind, t.kind)}(in, &{target}));"]
    if t.kind == "fixed":
        return [f"{pad}CODEC_TRY(codec_in_copy(in, {target}, {t.size}));"]
    if t.kind == "enum":
        return [
            f"{pad}CODEC_TRY(codec_in_index(in, {len(t.symbols)}, CODEC_BAD_ENUM, &index));",
            f"{pad}{target} = (enum {t.c_name})index;",
        ]
    if t.all_doubles:
        return [f"{pad}CODEC_TRY(codec_in_copy(in, &{target}, sizeof {target}));"]
    return [f"{pad}CODEC_TRY(get_{snake(t.name)}(in, &{target}));"]


def get_array(t, name, indent):
    pad, n = "    " * indent, f"v->{name}_n"
    out = [
        f"{pad}{n} = 0;",
        f"{pad}for (;;) {{",
        f"{pad}    struct codec_block block;",
        f"{pad}    CODEC_TRY(codec_in_block(in, {t.bound} - {n}, &block));",
        f"{pad}    if (block.items == 0)",
        f"{pad}        break;",
    ]
    if t.items.all_doubles:
        out.append(f"{pad}    CODEC_TRY(codec_in_copy(in, &v->{name}[{n}], block.items * sizeof v->{name}[0]));")
        out.append(f"{pad}    {n} += block.items;")
    else:
        out.append(f"{pad}    for (uint32_t i = 0; i < block.items; i++, {n}++) {{")
        out += get_value(t.items, f"v->{name}[{n}]", indent + 2)
        out.append(f"{pad}    }}")
    out += [f"{pad}    CODEC_TRY(codec_in_block_end(in, &block));", f"{pad}}}"]
    return out


def zero_value(f, indent):
    pad, name = "    " * indent, f"v->{f.c_name}"
    if f.type.kind == "array":
        return [f"{pad}{name}_n = 0;"]
    if f.type.kind == "fixed":
        return [f"{pad}memset({name}, 0, sizeof {name});"]
    if f.type.kind == "record":
        return [f"{pad}memset(&{name}, 0, sizeof {name});"]
    if f.type.kind in ("string", "bytes"):
        return [f"{pad}{name} = ({f.type.c_type}){{.data = NULL, .n = 0}};"]
    if f.type.kind == "enum":
        return [f"{pad}{name} = {symbol_name(f.type, f.type.symbols[0])};"]
    return [f"{pad}{name} = {'false' if f.type.kind == 'boolean' else 0};"]


def needs_index(record):
    def inner(t):
        return t.items if t.kind == "array" else t

    return any(f.nullable or inner(f.type).kind == "enum" for f in record.fields)


def getter(t):
    out = [f"CODEC_INLINE enum codec_status get_{snake(t.name)}(struct codec_in *in, struct {t.c_name} *v)", "{"]
    if needs_index(t):
        out += ["    uint32_t index;", ""]
    for f in t.fields:
        indent = 1
        if f.nullable:
            out.append("    CODEC_TRY(codec_in_index(in, 2, CODEC_BAD_UNION, &index));")
            out.append(f"    v->has_{f.name} = index == {1 if f.null_first else 0};")
            out.append(f"    if (v->has_{f.name}) {{")
            indent = 2
        if f.type.kind == "array":
            out += get_array(f.type, f.c_name, indent)
        else:
            out += get_value(f.type, f"v->{f.c_name}", indent)
        if f.nullable:
            out += ["    } else {"] + zero_value(f, 2) + ["    }"]
    return out + ["    return CODEC_OK;", "}", ""]


def put_value(t, source, indent):
    pad = "    " * indent
    if t.kind in ("string", "bytes"):
        return [f"{pad}CODEC_TRY(codec_out_{t.kind}(out, {source}, {t.bound}));"]
    if t.kind in ("int", "long"):
        return [f"{pad}CODEC_TRY(codec_out_long(out, {source}));"]
    if t.kind == "boolean":
        return [f"{pad}CODEC_TRY(codec_out_bool(out, {source}));"]
    if t.kind == "enum":
        return [
            f"{pad}if ((uint32_t){source} >= {len(t.symbols)})",
            f"{pad}    return CODEC_BAD_ENUM;",
            f"{pad}CODEC_TRY(codec_out_long(out, (int64_t){source}));",
        ]
    if t.kind == "fixed":
        return [f"{pad}CODEC_TRY(codec_out_copy(out, {source}, {t.size}));"]
    if t.kind in ("float", "double") or t.all_doubles:
        return [f"{pad}CODEC_TRY(codec_out_copy(out, &{source}, sizeof {source}));"]
    return [f"{pad}CODEC_TRY(put_{snake(t.name)}(out, &{source}));"]


def put_array(t, name, indent):
    pad, n = "    " * indent, f"v->{name}_n"
    out = [
        f"{pad}if ({n} > {t.bound})",
        f"{pad}    return CODEC_OVER_BOUND;",
        f"{pad}if ({n} > 0)",
        f"{pad}    CODEC_TRY(codec_out_long(out, {n}));",
    ]
    if t.items.all_doubles:
        out.append(f"{pad}CODEC_TRY(codec_out_copy(out, v->{name}, {n} * sizeof v->{name}[0]));")
    else:
        out.append(f"{pad}for (uint32_t i = 0; i < {n}; i++) {{")
        out += put_value(t.items, f"v->{name}[i]", indent + 1)
        out.append(f"{pad}}}")
    return out + [f"{pad}CODEC_TRY(codec_out_long(out, 0));"]


def putter(t):
    out = [f"CODEC_INLINE enum codec_status put_{snake(t.name)}(struct codec_out *out, const struct {t.c_name} *v)", "{"]
    for f in t.fields:
        indent = 1
        if f.nullable:
            present, absent = (1, 0) if f.null_first else (0, 1)
            out.append(f"    CODEC_TRY(codec_out_long(out, v->has_{f.name} ? {present} : {absent}));")
            out.append(f"    if (v->has_{f.name}) {{")
            indent = 2
        if f.type.kind == "array":
            out += put_array(f.type, f.c_name, indent)
        else:
            out += put_value(f.type, f"v->{f.c_name}", indent)
        if f.nullable:
            out.append("    }")
    return out + ["    return CODEC_OK;", "}", ""]


def enum_names(t):
    out = [f"static const char *const {snake(t.name)}_symbols[] = {{"]
    out += [f'    "{s}",' for s in t.symbols]
    return out + ["};", ""]


def fields_name(schema, t):
    return f"{schema.prefix}_fields" if t is schema.top else f"{snake(t.name)}_fields"


def descriptor(schema, t):
    storage = "" if t is schema.top else "static "
    out = [f"{storage}const struct codec_field {fields_name(schema, t)}[{len(t.fields)}] = {{"]
    for f in t.fields:
        one = f.type.items if f.type.kind == "array" else f.type
        at = f"offsetof(struct {t.c_name}, "
        parts = [f'.name = "{f.name}"', f".kind = {f.type.kind_name}", f".offset = {at}{f.c_name})"]
        item = f"((struct {t.c_name} *)0)->{f.c_name}" + ("[0]" if f.type.kind == "array" else "")
        parts.append(f".size = sizeof {item}")
        if one.logical:
            parts.append(".logical = CODEC_LOGICAL_TIMESTAMP_MICROS")
        if f.nullable:
            parts += [".nullable = true", f".has_offset = {at}has_{f.name})"]
        if f.type.kind == "array":
            parts += [f".count_offset = {at}{f.c_name}_n)", f".item_kind = {one.kind_name}"]
        if f.type.bound:
            parts.append(f".bound = {f.type.bound}")
        if f.type.kind == "array" and one.bound:
            parts.append(f".item_bound = {one.bound}")
        if one.kind == "record":
            parts += [f".fields = {fields_name(schema, one)}", f".fields_n = {len(one.fields)}"]
        if one.kind == "enum":
            parts += [f".symbols = {snake(one.name)}_symbols", f".symbols_n = {len(one.symbols)}"]
        out.append("    {" + ",\n     ".join(parts) + "},")
    return out + ["};", ""]


def c_string(text):
    out = []
    for i in range(0, len(text), 90):
        out.append('    "' + text[i : i + 90].replace("\\", "\\\\").replace('"', '\\"').replace("?", "\\?") + '"')
    return out


def functions(schema):
    p, stem = schema.prefix, schema.stem
    return f"""\
enum codec_status {p}_decode_prefix(const uint8_t *buf, size_t n, struct {p} *into,
    size_t *ret_used)
{{
    struct codec_in in = {{.p = buf, .end = buf + n}};

    CODEC_TRY(get_{stem}(&in, into));
    *ret_used = (size_t)(in.p - buf);
    return CODEC_OK;
}}

enum codec_status {p}_decode(const uint8_t *buf, size_t n, struct {p} *into)
{{
    size_t used;

    CODEC_TRY({p}_decode_prefix(buf, n, into, &used));
    return used == n ? CODEC_OK : CODEC_TRAILING_BYTES;
}}

enum codec_status {p}_encode(const struct {p} *v, uint8_t *buf, size_t cap, size_t *ret_n)
{{
    struct codec_out out = {{.p = buf, .end = buf + cap}};

    CODEC_TRY(put_{stem}(&out, v));
    *ret_n = (size_t)(out.p - buf);
    return CODEC_OK;
}}

static enum codec_status decode_any(const uint8_t *buf, size_t n, void *into)
{{
    return {p}_decode(buf, n, into);
}}

static enum codec_status decode_prefix_any(const uint8_t *buf, size_t n, void *into, size_t *ret_used)
{{
    return {p}_decode_prefix(buf, n, into, ret_used);
}}

static enum codec_status encode_any(const void *v, uint8_t *buf, size_t cap, size_t *ret_n)
{{
    return {p}_encode(v, buf, cap, ret_n);
}}

const struct codec_record {p}_record = {{
    .name = "{schema.top.name}",
    .full_name = "{schema.top.full_name}",
    .schema = {p}_schema,
    .fingerprint = 0x{schema.fingerprint:016x}U,
    .struct_size = sizeof(struct {p}),
    .bytes_max = {p.upper()}_BYTES_MAX,
    .fields = {p}_fields,
    .fields_n = {len(schema.top.fields)},
    .decode = decode_any,
    .decode_prefix = decode_prefix_any,
    .encode = encode_any,
}};
"""


def source(schema):
    p = schema.prefix
    out = [
        f"/* Generated by tools/avrogen from schemas/{schema.stem}.avsc: do not edit. */",
        f'#include "codec/{schema.stem}.h"',
        "",
        '#include "codec/wire.h"',
        "",
        f"const uint64_t {p}_fingerprint = 0x{schema.fingerprint:016x}U;",
        "",
        f"const char {p}_schema[] =",
    ]
    out += c_string(schema.text)
    out[-1] += ";"
    out.append("")
    for t in schema.types:
        if t.kind == "enum":
            out += enum_names(t)
    for t in schema.types:
        if t.kind == "record":
            out += descriptor(schema, t)
    for t in schema.types:
        if t.kind == "record" and (t is schema.top or not t.all_doubles):
            out += getter(t) + putter(t)
    return "\n".join(out) + "\n" + functions(schema)


def records(schemas):
    seen = {}
    for schema in schemas:
        for t in schema.types:
            other, same = seen.setdefault(t.c_name, (schema, t))
            if other is schema or (t.kind == same.kind == "enum" and t.symbols == same.symbols):
                continue
            raise SchemaError(f"{schema.path}: {t.name} is also defined by {other.path}, otherwise: C needs two names")
    lines = ["/* Generated by tools/avrogen from schemas/: do not edit. */", '#include "codec/codec.h"', ""]
    lines += [f'#include "codec/{s.stem}.h"' for s in schemas]
    lines += ["", "const struct codec_record *const codec_records[] = {"]
    lines += [f"    &{s.prefix}_record," for s in schemas]
    lines += ["};", "const size_t codec_records_n = sizeof codec_records / sizeof codec_records[0];", ""]
    return "\n".join(lines)


def released(schemas):
    """By fingerprint, what its writer's schema is. The folder's name is the release."""
    lines = ["/* Generated by tools/avrogen from schemas/released/: do not edit. */", '#include "codec/reader.h"', "",
             "const struct codec_released codec_released[] = {"]
    for schema in sorted(schemas, key=lambda s: (s.stem, int(s.path.parent.name))):
        lines += [f'    {{.full_name = "{schema.top.full_name}",', f"     .release = {int(schema.path.parent.name)},",
                  f"     .fingerprint = 0x{schema.fingerprint:016x}U,", "     .schema ="]
        lines += c_string(schema.text)
        lines += ["    },"]
    lines += ["};", "const size_t codec_released_n = sizeof codec_released / sizeof codec_released[0];", ""]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=pathlib.Path, metavar="DIR")
    parser.add_argument("--records", action="store_true", help="write the table of all records")
    parser.add_argument("--released", action="store_true", help="write the table of all released schemas")
    parser.add_argument("schemas", nargs="+", type=pathlib.Path, metavar="SCHEMA")
    args = parser.parse_args()
    try:
        schemas = [Schema(path) for path in sorted(args.schemas, key=lambda path: path.name)]
        written = {}
        if args.records:
            written["records.c"] = records(schemas)
        elif args.released:
            written["released.c"] = released(schemas)
        else:
            for schema in schemas:
                written[f"{schema.stem}.h"] = header(schema)
                written[f"{schema.stem}.c"] = source(schema)
        args.out.mkdir(parents=True, exist_ok=True)
        for name, text in written.items():
            (args.out / name).write_text(text, encoding="utf-8")
    except (SchemaError, OSError) as e:
        print(f"avrogen: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
