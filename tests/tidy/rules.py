"""rules.py: the project's own rules, as a failing test. Include rules, sizes, banned calls, purity.

Each rule is a function over one file's text that yields (line, message). check() runs them over the tracked files of a
tree; purity() looks at what the cores' objects ask of the C library. test_rules.py runs both over this checkout,
test_tidy_selftest.py plants a fault for every rule and sees it found.
"""

import pathlib
import re
import subprocess

LINE_COLUMNS_MAX = 100
FUNCTION_LINES_MAX = 70
TEXT_BYTES_MAX = 1 << 20

# Headers without I/O, clocks, threads or allocation behind one's back: what a pure folder may see of libc and libm.
PURE_HEADERS = set(
    "assert.h ctype.h errno.h float.h inttypes.h limits.h math.h stdalign.h stdarg.h stdbool.h stddef.h stdint.h "
    "stdio.h stdlib.h string.h".split())
# stdio.h and stdlib.h are in for snprintf, calloc and free; what else they offer is caught by the symbols.
PURE_SYMBOLS = set(
    "calloc free malloc realloc qsort bsearch abs labs llabs "
    "memchr memcmp memcpy memmove memset strchr strcmp strlen strncmp strnlen strrchr "
    "snprintf vsnprintf __snprintf_chk __vsnprintf_chk __memcpy_chk __memmove_chk __memset_chk "
    "sqrt frexp ldexp fabs floor ceil trunc round rint nearbyint fmin fmax isnan isinf copysign nextafter lrint llrint "
    "fmod strtoul __popcountdi2 "
    "__assert_fail __stack_chk_fail _GLOBAL_OFFSET_TABLE_".split())
# The states of an alert, which cores judge by, stand beside the sinks, which are not pure.
PURE_FILES = ("common/alerts/alert.c", "common/alerts/alert.h")

# A third-party header belongs to one folder; tests and benchmarks may hold it beside ours, as an oracle or a yardstick.
OWNERS = [
    (re.compile(r"(librdkafka/)?rdkafka.*\.h"), ["common/bus"]),
    (re.compile(r"avro\.h|avro/.*"), ["common/codec"]),
    (re.compile(r"microhttpd\.h|curl/.*"), ["common/http"]),
    (re.compile(r"libpq-fe\.h"), ["common/pgc"]),
    (re.compile(r"argp\.h"), ["common/svc", "tools"]),
    (re.compile(r"jansson\.h"), ["common/alerts", "common/codec", "common/http", "common/quality", "tools"]),
    (re.compile(r"zlib\.h"), ["common/codec", "tools/l2replay"]),
    (re.compile(r"cmocka\.h"), []),
    (re.compile(r"(xgboost|gsl)/.*|xxhash\.h"), ["common/model", "tools/l2sweep"]),
]
ORACLES = ("tests/", "bench/")

# What a tool runs of a service: a backtest says what the monitor would have said by the monitor's own code.
SHARED = {"tools/l2monitor": {"services/quality-monitor"}}

BANNED = {
    "strcpy": "memcpy with a known length", "strcat": "snprintf", "sprintf": "snprintf", "vsprintf": "vsnprintf",
    "gets": "fgets", "strtok": "strchr", "atoi": "strtol", "atol": "strtol", "atoll": "strtoll", "atof": "strtod",
    "alloca": "an array with a named bound", "tmpnam": "mkstemp", "system": "posix_spawn",
}
EXITS = re.compile(r"\b(exit|_exit|_Exit|quick_exit|abort)\s*\(")
LOGS = re.compile(r"\b(printf|puts|putchar|perror|vprintf|syslog|log_\w+)\s*\(|\b(stderr|stdout)\b")
CLOCKS = re.compile(r"\b(clock_gettime|gettimeofday|time|clock)\s*\(")
# Written so that this file does not match itself.
MACHINE_PATH = re.compile(r"(?<![\w.~$}\])-])/(?:" + "|".join(["home/[a-z]", "Users/[A-Za-z]", "root\\b", "work\\b"]) + ")")

C_FILE = (".c", ".h")
CODE = C_FILE + (".py", ".sh", ".cmake", ".txt", ".avsc", ".yml", ".yaml", ".sql")


def strip_comments_and_strings(text):
    """C text with comments and literals blanked out; every line keeps its number and its #include."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)

    def blank(match):
        if match.group().startswith('"') and re.search(r"#\s*include\s*$", text[max(0, match.start() - 20):match.start()]):
            return match.group()
        return re.sub(r"[^\n]", " ", match.group())

    return pattern.sub(blank, text)


def library_of(path):
    """common/bus/bus.c → bus"""
    parts = path.split("/")
    return parts[1] if parts[0] == "common" and len(parts) > 2 else None


def is_core(path):
    return re.match(r"services/[^/]+/core/", path) is not None


def is_pure(path):
    return is_core(path) or library_of(path) in ("base", "l2") or path in PURE_FILES


def is_library(path):
    """What must neither log nor exit: cores, and all of common/ but the two folders whose job it is."""
    return is_core(path) or library_of(path) not in (None, "svc", "log")


def in_folders(path, folders):
    return any(path.startswith(folder + "/") for folder in folders)


# ---- rules over C files: (path, text, bare, tree) → (line, message)


def rule_columns(path, text, bare, tree):
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > LINE_COLUMNS_MAX:
            yield number, f"columns: {len(line)} columns, at most {LINE_COLUMNS_MAX}"


def rule_function_lines(path, text, bare, tree):
    """clang-format puts a function's braces, and only those, alone in column 0."""
    start = None
    for number, line in enumerate(bare.splitlines(), 1):
        if line.rstrip() == "{":
            start = number
        elif line.startswith("}") and start is not None:
            length = number - start + 2
            if length > FUNCTION_LINES_MAX:
                yield start - 1, f"function-lines: {length} lines, at most {FUNCTION_LINES_MAX}"
            start = None


def rule_banned(path, text, bare, tree):
    for number, line in enumerate(bare.splitlines(), 1):
        for match in re.finditer(r"\b(\w+)\s*\(", line):
            if match.group(1) in BANNED:
                yield number, f"banned: {match.group(1)}: use {BANNED[match.group(1)]}"
        if re.search(r"\bNDEBUG\b", line):
            yield number, "banned: NDEBUG: asserts stay on"


def rule_exits(path, text, bare, tree):
    if is_library(path):
        for number, line in enumerate(bare.splitlines(), 1):
            match = EXITS.search(line)
            if match:
                yield number, f"exits: {match.group(1)}: a library returns an enum err_class instead"


def rule_logs(path, text, bare, tree):
    if is_library(path):
        for number, line in enumerate(bare.splitlines(), 1):
            match = LOGS.search(line)
            if match:
                yield number, f"logs: {match.group(0).rstrip('( ')}: a library returns its text in struct err instead"


def rule_clock(path, text, bare, tree):
    if library_of(path) != "clk" and not path.startswith(ORACLES):
        for number, line in enumerate(bare.splitlines(), 1):
            match = CLOCKS.search(line)
            if match:
                yield number, f"clock: {match.group(1)}: only common/clk reads a clock"


def rule_guard(path, text, bare, tree):
    if not path.endswith(".h"):
        return
    found = re.search(r"^\s*#ifndef (\w+)\n#define (\w+)\n", bare, re.M)
    stem = re.sub(r"\W", "_", pathlib.PurePath(path).stem).upper()
    if not found or found.group(1) != found.group(2) or not bare.rstrip().endswith("#endif"):
        yield 1, "guard: wants #ifndef X_H, #define X_H … #endif around everything"
    elif not found.group(1).endswith(stem + "_H"):
        yield 1, f"guard: {found.group(1)} does not end with {stem}_H"
    else:
        other = tree.guards.setdefault(found.group(1), path)
        if other != path:
            yield 1, f"guard: {found.group(1)} is the guard of {other} too"


def rule_includes(path, text, bare, tree):
    for number, line in enumerate(bare.splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if match:
            wrong = include_fault(path, match.group(2), match.group(1) == "<", tree)
            if wrong:
                yield number, "include: " + wrong


def include_fault(path, header, is_system, tree):
    if not path.startswith(ORACLES):
        for pattern, folders in OWNERS:
            if pattern.fullmatch(header) and not in_folders(path, folders):
                return f"<{header}> belongs to {', '.join(folders) or 'the tests'}"
    if is_system:
        return f"<{header}> in a pure folder" if is_pure(path) and header not in PURE_HEADERS else None
    if ".." in header.split("/"):
        return f'"{header}" climbs out of its folder'
    return project_include_fault(path, header, tree)


def project_include_fault(path, header, tree):
    first = header.split("/")[0]
    library = first if "/" in header and first in tree.libraries else None
    mine = path.split("/")
    if path.startswith(ORACLES):
        return None
    if library is None:
        other = re.match(r"(?:services|tools)/([^/]+)/", header)
        if other and other.group(1) != mine[1]:
            return f'"{header}": services and tools never include each other'
        return None
    if library_of(path) is not None:
        if library not in (library_of(path), "base") and library not in tree.declared(library_of(path)):
            return f'"{header}": common/{library_of(path)} does not declare that library in its CMakeLists.txt'
        if is_pure(path) and library not in (library_of(path), "base"):
            return f'"{header}" in a pure folder'
    elif is_core(path) and library not in ("base", "l2") and f"common/{header}" not in PURE_FILES:
        return f'"{header}": a core sees itself, common/l2, common/base and alerts/alert.h'
    return None


def rule_unknown_include(path, text, bare, tree):
    """A header of another service can also be reached by its bare name through an include directory."""
    owners = tree.private_headers
    for number, line in enumerate(bare.splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*"([^"]+)"', line)
        if not match or path.startswith(ORACLES):
            continue
        name = match.group(1).split("/")[-1]
        folders = owners.get(name, set())
        here = "/".join(path.split("/")[:2])
        if folders and not folders & ({here} | SHARED.get(here, set())) and here.split("/")[0] in ("services", "tools", "common"):
            if match.group(1).split("/")[0] not in tree.libraries:
                yield number, f'include: "{match.group(1)}" is private to {", ".join(sorted(folders))}'


# ---- rules over every text file


def rule_whitespace(path, text, bare, tree):
    for number, line in enumerate(text.split("\n"), 1):
        if "\t" in line and not path.endswith(("Makefile", ".tsv")):
            yield number, "whitespace: a tab"
        if line != line.rstrip() and not path.endswith(".md"):
            yield number, "whitespace: at the end of the line"
    if text and not text.endswith("\n"):
        yield text.count("\n") + 1, "whitespace: no newline at the end of the file"


def rule_machine_path(path, text, bare, tree):
    for number, line in enumerate(text.splitlines(), 1):
        if MACHINE_PATH.search(line):
            yield number, f"machine-path: {MACHINE_PATH.search(line).group()}… is a folder of one machine"


C_RULES = [rule_columns, rule_function_lines, rule_banned, rule_exits, rule_logs, rule_clock, rule_guard, rule_includes,
           rule_unknown_include]
TEXT_RULES = [rule_machine_path]
CODE_RULES = [rule_whitespace]


class Tree:
    """What the rules need to know of the other files."""

    def __init__(self, root, paths):
        self.root = pathlib.Path(root)
        self.guards = {}
        self.libraries = {library_of(path) for path in paths if library_of(path)}
        self.private_headers = {}
        for path in paths:
            parts = path.split("/")
            if parts[0] in ("services", "tools") and len(parts) > 2 and path.endswith(".h"):
                self.private_headers.setdefault(parts[-1], set()).add("/".join(parts[:2]))

    def declared(self, library):
        """The libraries named after LINK in common/<library>/CMakeLists.txt."""
        try:
            text = (self.root / "common" / library / "CMakeLists.txt").read_text()
        except OSError:
            return set()
        names = set(re.findall(r"\bl2_(\w+)", text))
        return {"l2" if name == "domain" else name for name in names}


def tracked(root):
    """Files that git would commit: what is tracked, and what is new and not ignored."""
    done = subprocess.run(["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                          capture_output=True, check=True)
    return sorted({name for name in done.stdout.decode().split("\0") if name and (pathlib.Path(root) / name).is_file()})


def check(root, paths):
    """All violations, as 'path:line: rule: text'."""
    tree = Tree(root, paths)
    faults = []
    for path in paths:
        data = (tree.root / path).read_bytes()
        if b"\0" in data or len(data) > TEXT_BYTES_MAX:
            continue
        text = data.decode(errors="replace")
        bare = strip_comments_and_strings(text) if path.endswith(C_FILE) else text
        rules = list(TEXT_RULES)
        if path.endswith(CODE) or "/" not in path:
            rules += CODE_RULES
        if path.endswith(C_FILE):
            rules += C_RULES
        for rule in rules:
            faults += [f"{path}:{line}: {message}" for line, message in rule(path, text, bare, tree)]
    return faults


def purity(objects):
    """Symbols that pure objects need and neither define nor may have: 'object: symbol'. objects: paths of .o or .a"""
    defined, wanted = set(), []
    for path in objects:
        done = subprocess.run(["nm", "-A", str(path)], capture_output=True, text=True, check=True)
        for line in done.stdout.splitlines():
            where, _, rest = line.rpartition(":")
            fields = rest.split()
            if len(fields) == 2 and fields[0] in "Uw":
                wanted.append((where, fields[1]))
            elif len(fields) == 3:
                defined.add(fields[2])
    return sorted({f"{where}: purity: {symbol} is not on the list of pure functions"
                   for where, symbol in wanted if symbol not in defined and symbol not in PURE_SYMBOLS})


def pure_objects(build):
    """Objects of common/base, common/l2 and the cores in a CMake build folder."""
    build = pathlib.Path(build)
    objects = list(build.glob("common/base/**/*.o")) + list(build.glob("common/l2/**/*.o")) + list(build.glob("common/alerts/**/alert.c.o"))
    # a core may be compiled by its own CMakeLists or by its service's
    objects += [path for path in build.glob("services/**/*.o") if "core" in path.parts or "/core/" in str(path)]
    return sorted(set(objects))
