#!/usr/bin/env python3
"""embed.py OUT FILE.sql…: the migrations as a C table, pgc_migrations.c.

Each FILE is NNNN_name.sql; the numbers start at 1 and leave no gap. The hash is the first 64 bits of the text's SHA-256.
"""

import hashlib
import pathlib
import re
import sys

NAME = re.compile(r"([0-9]{4})_([a-z0-9_]+)\.sql")
LINE_BYTES = 90


def literal(text):
    """C string literals, a line of SQL each; the compiler joins them."""
    out = []
    for line in text.splitlines(keepends=True):
        data = line.encode()
        for i in range(0, len(data), LINE_BYTES):
            part = data[i:i + LINE_BYTES]
            # Octal: exactly three digits, so that what follows is never taken for one more
            out.append('        "' + "".join(
                chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in part) + '"')
    return "\n".join(out)


def migrations(paths):
    made = []
    for path in sorted(map(pathlib.Path, paths), key=lambda p: p.name):
        match = NAME.fullmatch(path.name)
        if match is None:
            raise SystemExit(f"{path}: not NNNN_name.sql with a name of a-z, 0-9, _")
        if int(match[1]) != len(made) + 1:
            raise SystemExit(f"{path}: migration {len(made) + 1:04d} is expected: numbers leave no gap and do not repeat")
        text = path.read_text(encoding="utf-8")
        if not text.strip() or "\0" in text:
            raise SystemExit(f"{path}: empty, or a NUL in it")
        made.append((int(match[1]), match[2], hashlib.sha256(text.encode()).hexdigest()[:16], text))
    if not made:
        raise SystemExit("no migration is named")
    return made


def main():
    out, made = pathlib.Path(sys.argv[1]), migrations(sys.argv[2:])
    rows = "".join(f'    {{{number}, "{name}",\n{literal(text)},\n        UINT64_C(0x{digest})}},\n'
                   for number, name, digest, text in made)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text('/* Made by common/pgc/embed.py from schemas/sql. */\n#include "pgc/pgc.h"\n\n'
                   f"const struct pgc_migration pgc_migrations[] = {{\n{rows}}};\n"
                   f"const unsigned pgc_migrations_n = {len(made)};\n")


if __name__ == "__main__":
    main()
