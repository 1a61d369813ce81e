#!/usr/bin/env python3
"""./run demo quality: five days of a made-up market in seven minutes, with a drift and a stalled feed planted in it: alerts that are
raised, get worse and resolve, in the real sinks, and an engine that falls back and returns."""

import argparse
import collections
import datetime
import os
import pathlib
import signal
import subprocess
import sys
import time

import demo
import market

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))
import l2kafka  # noqa: E402  (the folder has to be on the path first)
import l2live  # noqa: E402
import l2sinks  # noqa: E402

BIN = ROOT / "build" / "release" / "bin"
EXCHANGE = "binance-usdm"
SYMBOLS = 4
BAR_SECONDS = 900
DAY_SECONDS = 86400
WARM_DAYS = 14  # of the reference
START = "2024-02-01T00:00:00Z"
START_SECONDS = 1706745600
DRIFT_DAYS = (1, 3)  # from the beginning of the second day to that of the fourth
DRIFT_FACTOR = 2
STALLED, STALL_FROM, STALL_SECONDS = 1, DAY_SECONDS // 2, 3600
SETTLE_SECONDS = 8
ARMS = ("no_l2", "champion_l2")
L2_BACK_SECONDS = 2 * 3600  # of market, after the latch was cleared


def parse_arguments(words):
    parser = argparse.ArgumentParser(
        prog="./run demo quality", description=__doc__,
        epilog="The market is synthetic, half a snapshot a second of four cryptos. On the second day its books become thinner, so that "
               "kyle_lambda drifts, until the fourth; before that one feed stalls for an hour while its trades go on. The engine is an "
               "example with a plain rule.")
    parser.add_argument("--keep", action="store_true", help="leave Kafka, the topics, the services and the sinks running")
    parser.add_argument("--days", type=float, default=5, help="days of market (default 5; the drift ends on the fourth)")
    parser.add_argument("--speed", type=float, default=1000, help="market seconds per second, up to 1000 (default 1000)")
    args = parser.parse_args(words)
    if not 0 < args.speed <= 1000:
        parser.error("--speed: above 0, up to 1000")
    if not 1 <= args.days <= 60:
        parser.error("--days: from 1 to 60")
    return args


def market_command(days):
    return [str(BIN / "l2replay"), "--source", "synthetic", "--exchange", EXCHANGE, "--symbols", str(SYMBOLS), "--rate-hz", "0.5",
            "--silence", "0", "--hours", f"{days * 24:g}", "--start", START]


def must(command, environment=None):
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise demo.Failed(f"{pathlib.Path(command[0]).name} ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout


def make_reference(folder):
    """Two undrifted weeks of the same market through the same code: what a model would have been trained on."""
    snapshots, reference = folder / "warm.avro", folder / "l2_quality_reference.json"
    must([*market_command(WARM_DAYS), "--output", str(snapshots)])
    must([str(BIN / "feature-producer"), "--offline", str(snapshots), "--out-dir", str(folder / "warm")], dict(os.environ, L2_EXCHANGE=EXCHANGE))
    told = must([str(BIN / "l2monitor"), "reference", str(folder / "warm" / "l2_bars.avro"), "--days-min", "7", "--output", str(reference)])
    snapshots.unlink()
    return reference, told


class Sinks:
    """Alertmanager and a store that takes Loki's push API, where they are to be had."""

    def __init__(self, folder, stack):
        self.alertmanager = self._start(l2sinks.Alertmanager, folder / "alertmanager", stack)
        self.loki = self._start(l2sinks.VictoriaLogs, folder / "victorialogs", stack)

    @staticmethod
    def _start(kind, folder, stack):
        if not kind.is_there():
            demo.say(f"{kind.__name__} is not to be had here: the demo goes on without")
            return None
        folder.mkdir(parents=True, exist_ok=True)
        server = kind(folder)
        server.start()
        stack.append((kind.__name__, server.kill))
        return server

    def settings(self):
        rows = {}
        if self.alertmanager:
            rows.update(sink_alertmanager_url=f"http://127.0.0.1:{self.alertmanager.port}", alertmanager_resend_s=5)
        if self.loki:
            rows.update(sink_loki_url=f"http://127.0.0.1:{self.loki.port}", sink_loki_path="/insert/loki/api/v1/push")
        return rows


def start(folder, name, settings, environment, stack, seconds=60):
    config, port = folder / f"{name}.conf", l2kafka.free_port()
    config.write_text("".join(f"{k} = {v}\n" for k, v in {**settings, "listen": f"127.0.0.1:{port}"}.items()))
    with open(folder / f"{name}.log", "wb") as log:
        process = subprocess.Popen([str(BIN / name), "--config", str(config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                   env=environment)
    stack.append((name, lambda: demo.stop(process, 15)))
    deadline = time.monotonic() + seconds
    while not market.http_ok(port, "/readyz"):
        if process.poll() is not None or time.monotonic() > deadline:
            raise demo.Failed(f"{name} did not become ready: see {log.name}")
        time.sleep(0.1)
    return process, port


class Operator:
    """Plays the rollout's controller: every crypto is in full operation; a latch is cleared when its cause is over."""

    def __init__(self, bootstrap, prefix):
        import confluent_kafka
        self.topic, self.version = prefix + "l2.rollout", collections.Counter()
        self.producer = confluent_kafka.Producer(l2live.client(bootstrap, partitioner="murmur2_random"))

    def route(self, symbol, now, cleared=None):
        self.version[symbol] += 1
        record = {"exchange": EXCHANGE, "symbol": symbol, "version": self.version[symbol], "time": now, "incumbent": "champion_l2",
                  "challenger": "none", "stage": "idle", "stage_since": None, "effective_arm": "champion_l2",
                  "reason": "demo: full operation" if cleared is None else "demo: the operator cleared the latch", "models": [],
                  "kill_switch": False, "paused": False, "latch_cleared_through": cleared, "audit_id": self.version[symbol],
                  "audit_head": ""}
        self.producer.produce(self.topic, l2live.encode("rollout_state", record), symbol.encode())
        self.producer.flush(10)


class Watcher:
    """Follows predictions, signals and alerts; shows changes as lines."""

    def __init__(self, bootstrap, prefix, operator):
        self.prefix, self.operator = prefix, operator
        self.consumer, _ = market.consumer(bootstrap, prefix, ("l2.predictions", "l2.alerts", "l2.quality", "l2.outcomes"))
        self.alerts, self.executed, self.reasons = [], {}, collections.defaultdict(list)
        self.psi, self.outcomes, self.signals = {}, 0, 0
        self.cleared, self.is_well = {}, {}
        self.printed = 0.0

    def poll(self, seconds):
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            for message in self.consumer.consume(500, timeout=min(left, 0.05)):
                if not message.error():
                    getattr(self, "_" + message.topic()[len(self.prefix) + 3:])(message.value())

    def _alerts(self, value):
        alert = l2live.decode("alert", value)
        self.alerts.append(alert)
        if alert["delivery"] == "send":
            print(f"  {alert['since']:%m-%d %H:%M}  {alert['previous']:>7} → {alert['state']:<7} {alert['summary'][:150]}", flush=True)

    def _quality(self, value):
        signal_ = l2live.decode("quality_signal", value)
        self.signals += 1
        if signal_["signal"] == "l2_kyle_lambda_drift_psi":
            self.psi[signal_["symbol"]] = signal_["value"]

    def _outcomes(self, _):
        self.outcomes += 1

    def _predictions(self, value):
        p = l2live.decode("prediction", value)
        symbol = p["symbol"]
        if p["arm"] == "champion_l2":  # it predicts whoever is executed
            fresh, full = p["freshness_seconds"], p["nan_rate"]
            self.is_well[symbol] = fresh is not None and fresh < 60 and full is not None and full < 0.05
        if not p["executed"]:
            return
        said = (p["arm"], p["route_reason"])
        if self.executed.get(symbol) != said:
            self.reasons[symbol].append((p["bar_time"], *said))
            print(f"  {p['bar_time']:%m-%d %H:%M}  {symbol} is served by {said[0]} ({said[1]})", flush=True)
        self.executed[symbol] = said
        # the operator looks when its cause is over
        if said[1] == "latch" and self.is_well.get(symbol) and self.cleared.get(symbol) != p["bar_time"]:
            self.cleared[symbol] = p["bar_time"]
            print(f"  {p['bar_time']:%m-%d %H:%M}  the operator clears {symbol}'s latch", flush=True)
            self.operator.route(symbol, p["bar_time"], cleared=p["bar_time"])

    def progress(self, virtual):
        if time.monotonic() - self.printed < 20:
            return
        self.printed = time.monotonic()
        psi = "  ".join(f"{s} {v:.2f}" if v is not None else f"{s} –" for s, v in sorted(self.psi.items()))
        print(f"  {virtual:%m-%d %H:%M}  … {self.signals:,} signals, {self.outcomes:,} outcomes; PSI of kyle_lambda, 24 h: {psi}", flush=True)


def states(alerts, signal_, symbols=None):
    """The states that were sent of one signal, in order, by key."""
    found = collections.defaultdict(list)
    for a in alerts:
        if a["signal"] == signal_ and a["delivery"] == "send" and (symbols is None or a["symbol"] in symbols):
            found[a["key"]].append(a["state"])
    return found


def check(watcher, sinks, days):
    """What this demo is to show, each with whether it was seen."""
    stalled = f"SYN{STALLED:03}"
    freshness = states(watcher.alerts, "l2_feature_freshness_seconds", {stalled})
    reasons = [reason for _, _, reason in watcher.reasons[stalled]]
    arms = [arm for _, arm, _ in watcher.reasons[stalled]]
    rows = [("the stalled feed raised a P2 and it resolved", any("p2" in s and s[-1] == "ok" for s in freshness.values())),
            ("the engine fell back to no_l2", "freshness" in reasons or "latch" in reasons),
            ("and returned to the L2 model", "no_l2" in arms and arms[-1] == "champion_l2")]
    if days >= DRIFT_DAYS[1] + 1.9:
        drift = states(watcher.alerts, "l2_kyle_lambda_drift_psi")
        rows += [("the drift raised a warning, then a P2", any("warn" in s and "p2" in s[s.index("warn"):] for s in drift.values())),
                 # a later episode is another one: two weeks are a short training, from which false alarms come
                 ("and resolved after it had ended", bool(drift) and all("ok" in s[s.index("p2"):] for s in drift.values() if "p2" in s))]
    if sinks.loki:
        lines = sinks.loki.lines()
        sent = [a for a in watcher.alerts if a["delivery"] == "send"]
        rows.append((f"Loki's store has each of {len(sent)} alerts that were sent", len(lines) >= len(sent)))
    if sinks.alertmanager:
        still = {a["labels"].get("signal") for a in sinks.alertmanager.alerts()}
        rows.append(("Alertmanager knows of no freshness alert any more, and answered all along", "l2_feature_freshness_seconds" not in still))
    return rows


def run(args, stack):
    prefix = time.strftime("quality-%Y%m%d-%H%M%S.")
    folder = ROOT / "var" / "demo" / prefix.rstrip(".")
    folder.mkdir(parents=True, exist_ok=True)
    demo.say(f"a reference from {WARM_DAYS} undrifted days of the made-up market (half a minute)")
    reference, _ = make_reference(folder)
    bootstrap, _ = demo.broker(stack)
    demo.say(f"Kafka at {bootstrap}; topics {prefix}*")
    market.check(subprocess.run([str(BIN / "l2ctl"), "topics", "apply", "-b", bootstrap, "-p", prefix, "--partitions", "2"],
                                capture_output=True, text=True, check=False), "l2ctl topics apply", demo.Failed)
    sinks = Sinks(folder, stack)
    real_start = time.time() + 12
    environment = dict(os.environ, L2_CLOCK=f"{real_start:.3f}/{START_SECONDS}/{args.speed:g}")
    common = {"exchange": EXCHANGE, "topic_prefix": prefix, "kafka.bootstrap.servers": bootstrap}
    operator = Operator(bootstrap, prefix)
    begin = datetime.datetime.fromtimestamp(START_SECONDS, datetime.timezone.utc)
    for i in range(SYMBOLS):
        operator.route(f"SYN{i:03}", begin)
    start(folder, "feature-producer", common, environment, stack)
    _, port = start(folder, "quality-monitor", {**common, "reference_file": reference, **sinks.settings()}, environment, stack)
    start(folder, "l2engine", common, environment, stack)
    watcher = Watcher(bootstrap, prefix, operator)
    demo.say(f"{args.days:g} days of a SYNTHETIC market at {args.speed:g} x: about {args.days * DAY_SECONDS / args.speed:.0f} s; "
             f"SYN{STALLED:03} stalls for an hour at noon of day 1, all books are thinner on days {DRIFT_DAYS[0] + 1} and {DRIFT_DAYS[1]}")
    with open(folder / "l2replay.log", "wb") as log:
        replay = subprocess.Popen([*market_command(args.days), "--stall", f"{STALLED}:{STALL_FROM}:{STALL_SECONDS}", "--drift",
                                   f"{DRIFT_DAYS[0] * DAY_SECONDS}:{(DRIFT_DAYS[1] - DRIFT_DAYS[0]) * DAY_SECONDS}:{DRIFT_FACTOR}",
                                   "--topic", "--bootstrap", bootstrap, "--topic-prefix", prefix],
                                  stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
    stack.append(("l2replay", lambda: demo.stop(replay, 5)))
    while replay.poll() is None:
        watcher.poll(0.5)
        watcher.progress(begin + datetime.timedelta(seconds=max(0, time.time() - real_start) * args.speed))
    if replay.returncode != 0:
        raise demo.Failed(f"l2replay ended with {replay.returncode}: see {log.name}")
    watcher.poll(SETTLE_SECONDS)
    rows = check(watcher, sinks, args.days)
    print(f"\n  {watcher.signals:,} signals, {watcher.outcomes:,} outcomes, {len(watcher.alerts)} changes of alerts, "
          f"{sum(a['delivery'] == 'send' for a in watcher.alerts)} of them sent")
    for text, seen in rows:
        print(f"  {'seen  ' if seen else 'FAILED'}  {text}")
    print(f"\n  logs: {folder.relative_to(ROOT)}")
    if args.keep:
        print(f"  export L2_KAFKA_BOOTSTRAP_SERVERS={bootstrap} L2_TOPIC_PREFIX={prefix}\n"
              f"  build/release/bin/l2ctl tail l2.alerts        curl -s http://127.0.0.1:{port}/metrics")
        stack.clear()
    return 0 if all(seen for _, seen in rows) else 1


def main(words):
    args = parse_arguments(words)
    stack = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return run(args, stack)
    except (demo.Failed, l2kafka.BrokerError) as error:
        print(f"demo quality: {error}", file=sys.stderr)
        return 70
    except KeyboardInterrupt:
        return 130
    finally:
        for _, end in reversed(stack):
            end()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
