#!/usr/bin/env python3
"""embed.py OUT: the page of l2monitor backtest as C strings: all that stands before the data, and all that stands behind it.

Scripts and styles are inline, so that the page needs no network, and named by their hash in the Content-Security-Policy: nothing
else runs, whatever the data says.
"""

import base64
import hashlib
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
VENDOR = HERE.parent / "vendor" / "uPlot"
PINNED = {"uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
          "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04"}
DATA = "<!-- data -->"
LINE_BYTES = 90


def vendored(name):
    data = (VENDOR / name).read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != PINNED[name]:
        raise SystemExit(f"{VENDOR / name}: sha256 {found}, not {PINNED[name]}")
    return data.decode()


def source_of(text):
    """How a Content-Security-Policy names an inline script or style."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def page():
    styles = [vendored("uPlot.min.css"), (HERE / "page.css").read_text(encoding="utf-8")]
    licence = (VENDOR / "LICENSE").read_text(encoding="utf-8").strip()  # which goes with every copy
    scripts = [f"/*\n{licence}\n*/\n{vendored('uPlot.iife.min.js')}", (HERE / "page.js").read_text(encoding="utf-8")]
    for text in styles + scripts:
        if re.search(r"</(script|style)", text, re.I):
            raise SystemExit("a script or style that would end its own element")
    policy = (f"default-src 'none'; script-src {' '.join(map(source_of, scripts))}; style-src {' '.join(map(source_of, styles))}; "
              "base-uri 'none'; form-action 'none'")
    text = (HERE / "page.html").read_text(encoding="utf-8")
    for marker, made in (("{{policy}}", policy), ("{{styles}}", "".join(f"<style>{s}</style>\n" for s in styles)),
                         ("{{scripts}}", "".join(f"<script>{s}</script>\n" for s in scripts))):
        if text.count(marker) != 1:
            raise SystemExit(f"page.html: {marker} is not in it once")
        text = text.replace(marker, made)
    return text


def literal(text):
    """C string literals; the compiler joins them. Octal: exactly three digits, so that what follows is never taken for one more."""
    data, out = text.encode(), []
    for i in range(0, len(data), LINE_BYTES):
        out.append('    "' + "".join(chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in data[i:i + LINE_BYTES]) + '"')
    return "\n".join(out)


def main():
    before, _, behind = page().partition(DATA)
    if not behind:
        raise SystemExit(f"page.html: no {DATA}")
    out = pathlib.Path(sys.argv[1])
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text('/* Made by tools/l2monitor/page/embed.py. */\n#include "mon_page.h"\n\n'
                   f"const char mon_page_before[] =\n{literal(before)};\n\nconst char mon_page_behind[] =\n{literal(behind)};\n")


if __name__ == "__main__":
    main()
