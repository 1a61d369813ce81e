"""Ten faults at random, two replicas under load: outputs equal a quiet run's. See faults.py. L2FLOW_SEED repeats a run."""

import os
import random
import sys
import tempfile

import faults
import l2fleet

CYCLES = 10
RATE = 800


def main():
    seed = int(os.environ.get("L2FLOW_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
    with tempfile.TemporaryDirectory() as folder:
        broker, proxy, bootstrap = faults.broker_behind_proxy(folder + "/kafka")
        with broker:
            counts, examples, sizes = faults.run(folder, broker, proxy, bootstrap, CYCLES, RATE, seed)
    print(f"cycles={sizes['cycles']} " + " ".join(f"{k}={counts[k]}" for k in l2fleet.KINDS), sizes)
    for example in examples[:10]:
        print(example)
    assert sizes["cycles"] >= CYCLES // 2, "the load was over too early"
    assert sizes["bars"] > 50 and sizes["dead_letters"] > 100, "the load was too small to show anything"
    return 1 if sum(counts.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
