"""Every rule finds the fault that it is there for: each test plants one in a tree that is clean without it."""

import pathlib
import subprocess
import tempfile
import unittest

import clang
import rules

HEADER = "#ifndef CODEC_X_H\n#define CODEC_X_H\n#include \"base/err.h\"\n#endif\n"
CLEAN = {
    "common/base/err.h": "#ifndef BASE_ERR_H\n#define BASE_ERR_H\n#include <stdbool.h>\n#endif\n",
    "common/l2/book.c": "#include \"book.h\"\n#include \"base/err.h\"\n\nint f(void)\n{\n    return 0;\n}\n",
    "common/l2/book.h": "#ifndef L2_BOOK_H\n#define L2_BOOK_H\n#include <stdint.h>\n#endif\n",
    "common/codec/x.h": HEADER,
    "common/codec/CMakeLists.txt": "l2flow_library(l2_codec SOURCES x.c LINK l2_base)\n",
    "common/bus/bus.h": "#ifndef BUS_H\n#define BUS_H\n#include <librdkafka/rdkafka.h>\n#endif\n",
    "services/a/a_wire.h": "#ifndef A_WIRE_H\n#define A_WIRE_H\n#include \"codec/x.h\"\n#endif\n",
    "services/a/core/a_core.c": "#include \"l2/book.h\"\n#include <math.h>\n",
    "services/b/b.c": "#include \"bus/bus.h\"\n#include \"b_own.h\"\n",
    "services/b/b_own.h": "#ifndef B_OWN_H\n#define B_OWN_H\n#endif\n",
    "tests/unit/t.c": "#include <cmocka.h>\n#include <avro.h>\n#include \"a_wire.h\"\n",
    "tools/dev/x.py": "print('x')\n",
}


def faults_of(changes):
    with tempfile.TemporaryDirectory() as root:
        tree = {**CLEAN, **changes}
        for path, text in tree.items():
            file = pathlib.Path(root, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return rules.check(root, sorted(tree))


class Rules(unittest.TestCase):
    def assert_found(self, path, text, fault, append=True):
        found = faults_of({path: (CLEAN.get(path, "") if append else "") + text})
        self.assertTrue(any(line.startswith(path + ":") and fault in line for line in found), (fault, found))
        self.assertEqual(len(found), 1, found)

    def test_clean(self):
        self.assertEqual(faults_of({}), [])

    def test_columns(self):
        self.assert_found("common/l2/book.c", "/* " + "x" * 98 + " */\n", "columns:")
        self.assertEqual(faults_of({"common/l2/book.c": "/* " + "x" * 94 + " */\n"}), [])

    def test_function_lines(self):
        self.assert_found("common/l2/book.c", "int g(void)\n{\n" + "    f();\n" * 68 + "}\n", "function-lines: 71")
        self.assertEqual(faults_of({"common/l2/book.c": "int g(void)\n{\n" + "    f();\n" * 67 + "}\n"}), [])

    def test_banned(self):
        for name in rules.BANNED:
            self.assert_found("services/b/b.c", f"int g(void)\n{{\n    return {name}(a);\n}}\n", f"banned: {name}")
        self.assert_found("services/b/b.c", "#ifdef NDEBUG\n#endif\n", "NDEBUG")

    def test_comments_and_strings_are_not_code(self):
        harmless = '/* strcpy(a) exit(1) */\nconst char *s = "sprintf(x) exit(1) \\" printf(";\n// gets(x)\n'
        self.assertEqual(faults_of({"common/l2/book.c": harmless}), [])

    def test_exits(self):
        for path in ("common/codec/x.c", "services/a/core/a_core.c"):
            for name in ("exit", "_exit", "abort"):
                self.assert_found(path, f"void g(void)\n{{\n    {name}(1);\n}}\n", "exits:")
        self.assertEqual(faults_of({"common/svc/svc.c": "void g(void)\n{\n    exit(1);\n}\n"}), [])

    def test_logs(self):
        for path in ("common/codec/x.c", "services/a/core/a_core.c"):
            for call in ("printf(x)", "fputs(x, stderr)", "perror(x)", "log_info(x)"):
                self.assert_found(path, f"void g(void)\n{{\n    {call};\n}}\n", "logs:")
        self.assertEqual(faults_of({"common/codec/x.c": "void g(void)\n{\n    fprintf(out, x);\n}\n"}), [])

    def test_clock(self):
        for path in ("common/codec/x.c", "services/b/b.c"):
            for call in ("clock_gettime(x)", "time(x)", "gettimeofday(x)"):
                self.assert_found(path, f"void g(void)\n{{\n    {call};\n}}\n", "clock:")
        self.assertEqual(faults_of({"common/clk/clk.c": "void g(void)\n{\n    clock_gettime(x);\n}\n"}), [])

    def test_guard(self):
        self.assert_found("common/l2/new.h", "int x;\n", "guard: wants")
        self.assert_found("common/l2/new.h", "#ifndef NEW_H\n#define NWE_H\n#endif\n", "guard: wants")
        self.assert_found("common/l2/new.h", "#ifndef OLD_H\n#define OLD_H\n#endif\n", "does not end with NEW_H")
        self.assert_found("services/b/err.h", "#ifndef BASE_ERR_H\n#define BASE_ERR_H\n#endif\n", "is the guard of")

    def test_third_party_in_its_folder(self):
        for header in ("librdkafka/rdkafka.h", "avro.h", "microhttpd.h", "curl/curl.h", "libpq-fe.h", "argp.h", "cmocka.h"):
            self.assert_found("services/b/b.c", f"#include <{header}>\n", "belongs to")

    def test_pure_folders(self):
        for path in ("common/l2/book.c", "services/a/core/a_core.c", "common/base/err.h"):
            for header in ("time.h", "pthread.h", "unistd.h"):
                text = f"#include <{header}>\n"
                changed = CLEAN[path].replace("\n#endif", "\n" + text + "#endif") if path.endswith(".h") \
                    else CLEAN[path] + text
                self.assert_found(path, changed, "in a pure folder", append=False)

    def test_core_sees_no_library_but_l2_and_base(self):
        self.assert_found("services/a/core/a_core.c", '#include "codec/x.h"\n', "a core sees itself")

    def test_l2_sees_no_library_but_base(self):
        self.assert_found("common/l2/book.c", '#include "codec/x.h"\n', "does not declare")
        with_link = {"common/l2/CMakeLists.txt": "l2flow_library(l2_domain SOURCES b.c LINK l2_codec)\n",
                     "common/l2/book.c": '#include "codec/x.h"\n'}
        self.assertIn("in a pure folder", "".join(faults_of(with_link)))

    def test_library_declares_what_it_sees(self):
        self.assert_found("common/codec/x.c", '#include "bus/bus.h"\n', "does not declare")
        declared = {"common/codec/x.c": '#include "bus/bus.h"\n',
                    "common/codec/CMakeLists.txt": "l2flow_library(l2_codec SOURCES x.c LINK l2_bus)\n"}
        self.assertEqual(faults_of(declared), [])

    def test_services_never_include_each_other(self):
        self.assert_found("services/b/b.c", '#include "a_wire.h"\n', "private to services/a")
        self.assertIn("climbs out", "".join(faults_of({"services/b/b.c": '#include "../a/x.h"\n'})))
        self.assertIn("never include", "".join(faults_of({"services/b/b.c": '#include "services/a/x.h"\n'})))

    def test_a_tool_sees_what_it_shares_with_a_service(self):
        monitor = {"services/quality-monitor/qm_x.h": "#ifndef QM_X_H\n#define QM_X_H\n#endif\n"}
        self.assertEqual(faults_of(monitor | {"tools/l2monitor/x.c": '#include "qm_x.h"\n'}), [])
        self.assertIn("private to", "".join(faults_of(monitor | {"tools/l2ctl/x.c": '#include "qm_x.h"\n'})))

    def test_whitespace(self):
        self.assert_found("common/l2/book.c", "\tint x;\n", "a tab")
        self.assert_found("tools/dev/x.py", "x = 1 \n", "end of the line")
        self.assert_found("tools/dev/x.py", "x = 1", "no newline")

    def test_machine_path(self):
        for folder in ("ho" + "me/joe/x", "ro" + "ot/x", "wo" + "rk/main"):
            self.assert_found("tools/dev/x.py", f"open('/{folder}')\n", "machine-path:")
        self.assertEqual(faults_of({"tools/dev/x.py": "open('var/work/x', './root', 'a/home/b')\n"}), [])


class Purity(unittest.TestCase):
    def objects_of(self, source):
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "x.c").write_text(source)
            subprocess.run(["cc", "-std=gnu11", "-w", "-c", "x.c", "-o", "x.o"], cwd=folder, check=True)
            return rules.purity([pathlib.Path(folder, "x.o")])

    def test_clean(self):
        pure = "#include <math.h>\n#include <string.h>\nint h(void) { return 1; }\n" \
            "double f(double x, char *a) { memset(a, 0, (unsigned)h()); return sqrt(x); }\n"
        self.assertEqual(self.objects_of(pure), [])

    def test_impure(self):
        for call in ("clock_gettime(0, 0)", "exp(3.0 * a[0])", "fopen(a, a)", "write(1, a, 1)", "pthread_create(0, 0, 0, 0)"):
            name = call.split("(")[0]
            found = self.objects_of(f"#include <math.h>\nint g(char *a) {{ return (long){call} != 0; }}\n")
            self.assertTrue(any(f"purity: {name} " in line for line in found), (call, found))


class Clang(unittest.TestCase):
    def in_file(self, text, look):
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "x.c").write_text(text)
            return look(folder)

    def test_format(self):
        good = "int f(void)\n{\n    return 0;\n}\n"
        self.assertEqual(self.in_file(good, lambda cwd: clang.unformatted(["x.c"], cwd)), [])
        for bad in (good.replace("    return", "  return"), good.replace("\n{", " {")):
            self.assertTrue(self.in_file(bad, lambda cwd: clang.unformatted(["x.c"], cwd)), bad)

    def test_tidy(self):
        good = "int f(int x);\nint f(int x)\n{\n    return x;\n}\n"
        self.assertEqual(self.in_file(good, lambda cwd: clang.tidy(["x.c"], None, cwd)), [])
        for bad, check in (
                ("int f(int *p);\nint f(int *p)\n{\n    p = 0;\n    return *p;\n}\n", "clang-analyzer-core.NullDereference"),
                ("int f(int x);\nint f(int x)\n{\n    if (x > 3);\n        x = 3;\n    return x;\n}\n",
                 "bugprone-suspicious-semicolon"),
                ("#include <stdlib.h>\nint f(void);\nint f(void)\n{\n    return rand();\n}\n", "cert-msc30-c")):
            said = "".join(self.in_file(bad, lambda cwd: clang.tidy(["x.c"], None, cwd)))
            self.assertRegex(said, check)


if __name__ == "__main__":
    unittest.main()
