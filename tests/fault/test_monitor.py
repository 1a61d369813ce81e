"""10 kills -9 of the quality monitor and a broker restart: outputs equal what its core says. See monitor_cycles.py. L2FLOW_SEED: another market."""

import os
import pathlib
import sys
import tempfile

import l2kafka
import l2qmlive
import monitor_cycles

CYCLES, DAYS = 10, 2


def main():
    seed = int(os.environ.get("L2FLOW_SEED", "21"))
    with tempfile.TemporaryDirectory() as folder, l2kafka.Broker(folder + "/kafka") as broker:
        counts, examples, sizes = monitor_cycles.run(broker, pathlib.Path(folder), CYCLES, seed, DAYS)
    print(f"cycles={sizes['cycles']} " + " ".join(f"{k}={counts[k]}" for k in l2qmlive.KINDS), sizes)
    for example in examples[:10]:
        print(example[:1000])
    assert sizes["signals"] > 1000 and sizes["outcomes"] > 100 and sizes["alerts"] > 20, "the market was too small to show anything"
    return 1 if sum(counts.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
