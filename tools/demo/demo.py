#!/usr/bin/env python3
"""./run demo: a recorded market through a real Kafka, the real producer and the real archiver, live in the terminal, checked
at the end."""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import archive
import market
import screen

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))
import l2kafka  # noqa: E402  (the folder has to be on the path first)

BIN = ROOT / "build" / "release" / "bin"
DATA = ROOT / "tests" / "data"
EXCHANGE = "binance-usdm"
RECORDINGS = {"BTCUSDT": "usdm_btcusdt_20240808.gz", "ETHUSDT": "usdm_ethusdt_20240808.gz"}
BAR_SECONDS = 900
SETTLE_SECONDS = 20  # after the last record: more than any commit takes
DRAIN_SECONDS = 15


def say(text):
    print(f"\033[1m[demo]\033[0m {text}" if sys.stdout.isatty() else f"[demo] {text}", flush=True)


class Failed(RuntimeError):
    """What the user is told, in one line."""


def parse_arguments():
    parser = argparse.ArgumentParser(
        prog="./run demo", description=__doc__,
        epilog="The market is a recording of 345 s, looped in event time; the clock is a rehearsal clock.")
    parser.add_argument("--keep", action="store_true", help="leave Kafka, PostgreSQL, the topics and both services running")
    parser.add_argument("--synthetic", action="store_true", help="a generated market instead of the recorded one")
    parser.add_argument("--hours", type=float, default=8, help="hours of market (default 8)")
    parser.add_argument("--speed", type=float, default=480, help="market seconds per second, up to 1000 (default 480)")
    return parser.parse_args()


def broker(stack):
    """The broker of ./run up, started if it does not run. Returns its address and whether it was there before."""
    directory = ROOT / "var" / "kafka"
    running = l2kafka.bootstrap_of(directory)
    if running and l2kafka.is_ready(running, timeout=10):
        return running, True
    say("starting Kafka on loopback (about 10 s)")
    kafka = l2kafka.Broker(directory, port=l2kafka.free_port(), keep=True)
    kafka.start()
    (kafka.dir / "bootstrap").write_text(kafka.bootstrap + "\n")
    stack.append(("Kafka", kafka.stop))
    return kafka.bootstrap, False


def replay_command(args):
    if args.synthetic:
        return [str(BIN / "l2replay"), "--source", "synthetic", "--exchange", EXCHANGE, "--symbols", "2",
                "--rate-hz", "20", "--hours", str(args.hours), "--seed", "1", "--start", "2024-08-08T00:00:00Z"]
    command = [str(BIN / "l2replay"), "--source", "binance-ws", "--exchange", EXCHANGE,
               "--loop-hours", str(args.hours)]
    for symbol, name in RECORDINGS.items():
        command += ["--input", str(DATA / name), "--symbol", symbol]
    return command


def describe(command):
    """First and last event time of what will be replayed, in µs, and how long it took to prepare."""
    begin = time.monotonic()
    done = subprocess.run([*command, "--describe"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"l2replay --describe: {done.stderr.strip()}")
    return json.loads(done.stdout), time.monotonic() - begin


def start_producer(folder, bootstrap, prefix, environment):
    config = folder / "feature-producer.conf"
    port = l2kafka.free_port()
    config.write_text(f"exchange = {EXCHANGE}\ntopic_prefix = {prefix}\nlisten = 127.0.0.1:{port}\n"
                      f"kafka.bootstrap.servers = {bootstrap}\n")
    with open(folder / "feature-producer.log", "wb") as log:
        process = subprocess.Popen([str(BIN / "feature-producer"), "--config", str(config)], stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=log, env=environment)
    deadline = time.monotonic() + 60
    while not market.http_ok(port, "/readyz"):
        if process.poll() is not None or time.monotonic() > deadline:
            raise Failed(f"feature-producer did not become ready: see {log.name}")
        time.sleep(0.1)
    return process, port


def stop(process, seconds):
    """SIGTERM, wait; its exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return -9


def watch(args, replay, port, reader, description):
    """Shows the table until the market has been replayed and its bars are there."""
    table = screen.Table(args.speed)
    quiet_since = None
    while True:
        reader.poll(0.25)
        table.show(reader, market.snapshots_taken(port))
        if replay.poll() is None:
            continue
        quiet_since = quiet_since or time.monotonic()
        if reader.has_all(description) or time.monotonic() - quiet_since > SETTLE_SECONDS:
            table.close()
            return


def run(args, stack):
    prefix = time.strftime("demo-%Y%m%d-%H%M%S.")
    folder = ROOT / "var" / "demo" / prefix.rstrip(".")
    folder.mkdir(parents=True, exist_ok=True)
    command = replay_command(args)
    store = archive.Archive(folder, prefix)
    stack.append(("PostgreSQL", store.end))
    bootstrap, was_there = broker(stack)
    say(f"Kafka at {bootstrap}; topics {prefix}*")
    market.check(subprocess.run([str(BIN / "l2ctl"), "topics", "apply", "-b", bootstrap, "-p", prefix, "--partitions", "2"],
                                capture_output=True, text=True, check=False), "l2ctl topics apply", Failed)
    say("reading the market (a few seconds)")
    description, seconds = describe(command)
    real_start = time.time() + 4 + 1.5 * seconds
    environment = dict(os.environ, L2_CLOCK=f"{real_start:.3f}/{description['first_event_time_us'] / 1e6:.6f}/{args.speed:g}")
    producer, port = start_producer(folder, bootstrap, prefix, environment)
    stack.append(("feature-producer", lambda: stop(producer, DRAIN_SECONDS)))
    if store.begin(bootstrap, prefix, environment):
        stack.append(("bar-archiver", lambda: stop(store.process, DRAIN_SECONDS)))
        say(f"PostgreSQL at 127.0.0.1:{store.server.port}; bar-archiver stores the bars in database {store.database}")
    else:
        say(f"no bar is archived; the rest goes on ({store.why})")
    reader = market.Reader(bootstrap, prefix, BAR_SECONDS)
    say(f"replaying {args.hours:g} h of {'a synthetic' if args.synthetic else 'the recorded, looped'} market "
        f"at {args.speed:g} x: about {args.hours * 3600 / args.speed:.0f} s")
    with open(folder / "l2replay.log", "wb") as log:
        replay = subprocess.Popen([*command, "--topic", "--bootstrap", bootstrap, "--topic-prefix", prefix],
                                  stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
    stack.append(("l2replay", lambda: stop(replay, 5)))
    watch(args, replay, port, reader, description)
    if replay.returncode != 0:
        raise Failed(f"l2replay ended with {replay.returncode}: see {log.name}")
    time.sleep(1.5)  # counters are exported once a second
    taken, dead = market.snapshots_taken(port), market.dead_letters(port)
    if not args.keep:
        code = stop(producer, DRAIN_SECONDS)
        if code != 0:
            raise Failed(f"feature-producer ended with {code}: see {folder / 'feature-producer.log'}")
    reader.close()
    say("checking: every bar once, none missing (reads both topics whole)")
    result = market.audit(bootstrap, prefix, description, BAR_SECONDS, reader)
    result.update(snapshots=taken, dead_letters=dead, archived=None)
    if store.process is not None:
        result["archived"], is_whole = store.audit(result["by_symbol"])
        result["ok"] = result["ok"] and is_whole
        if not is_whole:
            result["faults"].append(f"the archive has not every bar: see {store.log.relative_to(ROOT)}")
    screen.summary(args, result, description, bootstrap, prefix, folder.relative_to(ROOT), port, store)
    if args.keep:
        stack.clear()
    return 0 if result["ok"] else 1


def main():
    args = parse_arguments()
    stack = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return run(args, stack)
    except (Failed, l2kafka.BrokerError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 70
    except KeyboardInterrupt:
        return 130
    finally:
        for _, end in reversed(stack):
            end()


if __name__ == "__main__":
    sys.exit(main())
