"""10 kills -9 and one broker restart under load: outputs equal a quiet run's. See cycles.py."""

import os
import sys
import tempfile

import cycles
import l2kafka

CYCLES = 10


def main():
    seed = int(os.environ.get("L2FLOW_SEED", "1"))
    with tempfile.TemporaryDirectory() as folder, l2kafka.Broker(folder + "/kafka") as broker:
        counts, examples, sizes = cycles.run(broker, folder, CYCLES, rate=2000, hours=0.75, seed=seed)
    print(f"cycles={CYCLES} " + " ".join(f"{k}={counts[k]}" for k in ("lost", "doubled", "reordered", "changed")), sizes)
    for example in examples[:10]:
        print(example)
    assert sizes["bars"] > 100 and sizes["dead_letters"] > 100, "the load was too small to show anything"
    return 1 if sum(counts.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
