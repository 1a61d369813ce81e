"""A recorded market through l2replay, feature-producer and bar-archiver: the tables hold what the topics hold, and the same history
computed offline from the same snapshots and imported changes nothing.

One bar of the offline twin is changed here, to see that the comparison finds it.
"""

import pathlib
import subprocess
import sys
import tempfile

import l2ba
import l2kafka
import l2live

PREFIX, PARTITIONS, HOURS = "archive.", 3, 2
BAR = {"bar_seconds": 60, "window_seconds": 60}


def replay(bootstrap):
    options = ["--source", "binance-ws", "--exchange", "binance-usdm", "--loop-hours", str(HOURS), "--thin", "1000", "--bar-seconds", "60",
               "--topic", "--bootstrap", bootstrap, "--topic-prefix", PREFIX]
    for symbol in ("btcusdt", "ethusdt"):
        options += ["--input", str(l2live.ROOT / "tests" / "data" / f"usdm_{symbol}_20240808.gz"), "--symbol", symbol.upper()]
    done = subprocess.run([l2live.binary("l2replay"), *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"l2replay: {done.stderr}"


def decoded(bootstrap, topic, stem):
    return [l2live.decode(stem, m.value) for m in l2live.dump(bootstrap, PREFIX + topic)]


def check_import(archive, folder, bootstrap, bars):
    """The offline twin of the live bars: same rows, other provenance (it has no partition)."""
    l2live.write_records(folder / "closes.avro", "l2_bar", bars)
    l2live.write_records(folder / "sent.avro", "l2_snapshot", decoded(bootstrap, "l2.snapshots", "l2_snapshot"))
    l2live.offline(folder / "sent.avro", folder / "offline", ("--bar-seconds", 60, "--window-seconds", 60, "--closes", folder / "closes.avro"))
    done = l2ba.imported(folder, archive, [folder / "offline" / "l2_bars.avro"])
    assert done.returncode == 0 and done.stdout.split()[:7:2] == ["l2_snapshots", "new", "same", "refused"], done.stdout + done.stderr
    new, same = map(int, done.stdout.split()[1:4:2])
    assert (new, same) == (0, len(bars)), f"{new} rows were new, {same} of {len(bars)} the same"
    rows = l2live.records(folder / "offline" / "l2_bars.avro")
    rows[7]["mid_price"] = (rows[7]["mid_price"] or 0) + 0.5
    l2live.write_records(folder / "changed.avro", "l2_bar", rows)
    done = l2ba.imported(folder, archive, [folder / "changed.avro"])
    assert done.returncode == 65 and " 1 refused" in done.stdout, done.stdout


def main():
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        with l2kafka.shared_or_own(folder / "kafka") as bootstrap, l2ba.Archive(folder) as archive:
            l2live.topics(bootstrap, PREFIX, PARTITIONS)
            with l2live.Producer(folder, bootstrap, PREFIX, BAR) as producer, l2ba.Archiver(folder, archive, bootstrap, PREFIX) as archiver:
                replay(bootstrap)
                l2live.wait_committed(bootstrap, PREFIX + "feature-producer", PREFIX + "l2.snapshots", PARTITIONS, 60)
                assert producer.stop() == 0, producer.tail()
                for topic in ("l2.bars", "l2.ohlcv"):
                    l2live.wait_committed(bootstrap, PREFIX + "bar-archiver", PREFIX + topic, PARTITIONS, 60)
                assert archiver.stop() == 0, archiver.tail()
            bars, candles = decoded(bootstrap, "l2.bars", "l2_bar"), decoded(bootstrap, "l2.ohlcv", "candle")
            assert len(bars) > 100 and len(candles) > 100, f"{len(bars)} bars, {len(candles)} candles: too few to show anything"
            l2ba.assert_archived(archive, "l2_snapshots", bars)
            l2ba.assert_archived(archive, "ohlcv", candles)
            check_import(archive, folder, bootstrap, bars)
            print(f"{len(bars)} bars and {len(candles)} candles are in the tables, column by column")


if __name__ == "__main__":
    sys.exit(main())
