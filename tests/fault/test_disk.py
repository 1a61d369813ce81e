"""The disk of the broker's log is full under load: the producer waits or is started again by its supervisor; when there is space and
the broker is back, the outputs equal those of a quiet run. A small tmpfs is the disk: skipped (77) without the right to mount one.
Seen to fail on a partition taken without its bars (doubled, reordered, changed).
"""

import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import confluent_kafka
import l2fleet
import l2kafka
import l2live

PARTITIONS, DISK_MB, FULL_S = 2, 160, 8
# Index files are as large as a segment may need at once, 10 MiB each by default: none would fit on a small disk.
SMALL = {"log.index.size.max.bytes": 65536, "log.segment.bytes": 4 << 20, "offsets.topic.segment.bytes": 1 << 20,
         "transaction.state.log.segment.bytes": 1 << 20, "offsets.topic.num.partitions": 1,
         "transaction.state.log.num.partitions": 1}


@contextlib.contextmanager
def small_disk(path):
    path.mkdir(parents=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "l2flow", str(path)], capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        print(f"skipped: no tmpfs can be mounted: {done.stderr.strip()}")
        sys.exit(77)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=False)


def fill(path):
    with open(path, "wb") as f, contextlib.suppress(OSError):
        while True:
            f.write(b"\0" * (1 << 20))
            f.flush()


def coordinates(bootstrap, group):
    """The group's coordinator answers, be its offsets stable or not."""
    client = confluent_kafka.Consumer(l2live.client(bootstrap, **{"group.id": group, "isolation.level": "read_uncommitted"}))
    try:
        client.committed([confluent_kafka.TopicPartition("nothing", 0)], timeout=5)
    except confluent_kafka.KafkaException:
        return False
    finally:
        client.close()
    return True


def restart(broker, group):
    """Its supervisor starts it, and once more where its coordinator does not come up: a broker that lost its disk may need that."""
    for _ in range(3):
        broker.kill()
        broker.start()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if coordinates(broker.bootstrap, group):
                return
            time.sleep(0.5)
        print(f"no coordinator of {group} after 60 s, the broker is started again:\n{complaints(broker)}")
    raise RuntimeError("the broker does not come back")


def complaints(broker):
    lines = broker.log.read_text(errors="replace").splitlines()
    return "\n".join([line for line in lines if " ERROR " in line or " WARN " in line or "Finished loading" in line][-40:])


def main():
    if os.geteuid() != 0:
        print("skipped: only root can mount a small disk")
        return 77
    with tempfile.TemporaryDirectory() as text:
        folder = pathlib.Path(text)
        with small_disk(folder / "kafka"), l2kafka.Broker(folder / "kafka", settings=SMALL) as broker:
            run(broker, folder)
    return 0


def run(broker, folder):
    prefix, ballast = "disk.", folder / "kafka" / "ballast"
    load = l2fleet.make_load(l2fleet.market(folder, 0.4))
    l2live.topics(broker.bootstrap, prefix, PARTITIONS)
    with l2fleet.Fleet(folder, broker.bootstrap, prefix, 1) as fleet:
        loader = l2fleet.Loader(broker.bootstrap, prefix + "l2.snapshots", load, 1000)
        loader.start()
        fleet.start(0)
        fleet[0].wait_ready()
        time.sleep(3)
        before = sum(l2live.ends(broker.bootstrap, prefix + "l2.snapshots", PARTITIONS).values())
        fill(ballast)
        time.sleep(FULL_S)
        stopped = not broker.running()
        print(f"disk full for {FULL_S} s: the broker {'gave up' if stopped else 'runs'}, restarts {dict(fleet.restarts)}")
        ballast.unlink()
        restart(broker, prefix + "feature-producer")
        fleet.check()
        time.sleep(5)
        loader.finish()
        assert loader.sent > before > 0
        try:
            fleet.finish(PARTITIONS, 180)
        except RuntimeError as error:
            state = "answers" if coordinates(broker.bootstrap, prefix + "feature-producer") else "does not answer"
            raise RuntimeError(f"{error}\nthe coordinator {state}\n{complaints(broker)}\n{fleet[0].tail()}") from error
    l2fleet.assert_equal("disk", broker.bootstrap, prefix, folder, 20)


if __name__ == "__main__":
    sys.exit(main())
