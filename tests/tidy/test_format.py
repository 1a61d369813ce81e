"""Every C file is as the pinned clang-format leaves it; ./run format makes it so."""

import sys

import clang
import rules


def main():
    paths = [path for path in rules.tracked(clang.ROOT) if path.endswith((".c", ".h"))]
    faults = clang.unformatted(paths)
    print("\n".join(faults[:100]) or f"{len(paths)} files are formatted")
    if faults:
        print(f"{len(faults)} places; type ./run format", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
