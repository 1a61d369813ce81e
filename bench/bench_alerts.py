"""From the record that crosses a threshold to the alert at the real Loki-compatible store and the real Alertmanager: part `alerts` of bench.py.

The cause's time is the broker's (LogAppendTime of the record); the end is when the real server has said yes to the request with the alert,
seen by a relay before it. That the servers show every alert is asked of themselves at the end.
"""

import http.client
import http.server
import json
import random
import threading
import time

import confluent_kafka

import bench_monitor
import l2kafka
import l2live
import l2sinks
from bench_monitor import BAR_US, when

GOAL_S = 2
CRYPTOS = 520  # of one signal fewer than half go wrong: more would be a group, and one alert
EACH_S = 1.5  # between alerts of one signal; it waits for as long as others join it (hold_ms 1,200)
WARM_BARS = 24
NAN_RATE, NAN_AHEAD = "l2_feature_nan_rate", "nan_rate_ahead"


class Relay:
    """Hands requests on to a real server, and notes when it said yes to which alerts."""

    def __init__(self, port, keys_of):
        self.to_port, self.keys_of, self.seen, self.lock = port, keys_of, {}, threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version, disable_nagle_algorithm = "HTTP/1.1", True

            def do_POST(self):
                outer.hand_on(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", l2kafka.free_port()), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def hand_on(self, handler):
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        link = http.client.HTTPConnection("127.0.0.1", self.to_port, timeout=10)
        link.request("POST", handler.path, body, {"Content-Type": handler.headers["Content-Type"]})
        answer = link.getresponse()
        data = answer.read()
        now = time.time()
        link.close()
        if answer.status < 300:
            with self.lock:
                for key in self.keys_of(json.loads(body)):
                    self.seen.setdefault(key, now)
        handler.send_response(answer.status)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)


def loki_keys(body):
    return [metadata["key"] for s in body["streams"] if s["stream"]["state"] != "ok" for _, _, metadata in s["values"]]


def alertmanager_keys(body):
    return [a["annotations"]["key"] for a in body]


class Feed:
    """Bars and predictions as they come; every crypto well until it is told not to be."""

    def __init__(self, bootstrap, prefix):
        self.prefix, self.appended_ms = prefix, {}
        self.symbols = [f"S{i:03}" for i in range(CRYPTOS)]
        self.producer = confluent_kafka.Producer(l2live.client(bootstrap, **{"linger.ms": 0, "partitioner": "murmur2_random"}))
        made = {kind: record for kind, record in bench_monitor.templates(random.Random(1), "S")}
        self.bar, self.prediction = made["l2_bar"], made["champion_l2"] | {"executed": False}

    def send(self, signal, symbol, bar, is_well, key=None):
        head = {"symbol": symbol, "bar_time": when(bar * BAR_US)}
        if signal == NAN_RATE:
            record = self.prediction | head | {"nan_rate": 0.0 if is_well else 0.5, "freshness_seconds": 1.0,
                                               "valid_until": when((bar + 2) * BAR_US)}
            topic, stem = "l2.predictions", "prediction"
        else:
            record = self.bar | head | ({} if is_well else dict.fromkeys(bench_monitor.COLUMNS))
            topic, stem = "l2.bars", "l2_bar"

        def on_delivery(error, message):
            assert error is None, error
            if key:
                self.appended_ms[key] = message.timestamp()[1]

        self.producer.produce(self.prefix + topic, l2live.encode(stem, record), symbol.encode(), on_delivery=on_delivery)
        self.producer.poll(0)

    def warm_up(self, wrong, newest):
        """Hours in which all is well; of those that are to go wrong all but the record that crosses the threshold."""
        for i in range(WARM_BARS, -1, -1):
            for symbol in self.symbols:
                for signal in (NAN_RATE, NAN_AHEAD):
                    if (signal, symbol) not in wrong or i > 0:
                        self.send(signal, symbol, newest - i, (signal, symbol) not in wrong or i > 2)
            self.producer.flush(30)


def measure(bench, broker, folder, prefix, wrong, loki, alertmanager):
    """({key: seconds} of each sink)"""
    feed, newest = Feed(broker.bootstrap, prefix), int(time.time()) // bench_monitor.BAR_SECONDS - 1
    feed.warm_up(set(wrong), newest)
    settings = {"sink_loki_url": loki.url, "sink_loki_path": "/insert/loki/api/v1/push", "sink_alertmanager_url": alertmanager.url}
    with bench_monitor.Monitor(folder, broker.bootstrap, prefix, settings, name="quality-monitor") as m:
        m.folded()
        for topic in ("l2.predictions", "l2.bars"):
            bench.stamp_by_broker(broker.bootstrap, prefix + topic)
        time.sleep(5)
        begin = time.monotonic()
        for i, (signal, symbol) in enumerate(wrong):
            time.sleep(max(0, begin + i * EACH_S / 2 - time.monotonic()))
            feed.send(signal, symbol, newest, False, f"{signal}/none/binance-usdm/{symbol}")
        feed.producer.flush(10)
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline and not all(feed.appended_ms.keys() <= s.seen.keys() for s in (loki, alertmanager)):
            time.sleep(0.1)
        m.stop(60)
    for name, sink in (("Loki", loki), ("Alertmanager", alertmanager)):
        if lost := feed.appended_ms.keys() - sink.seen.keys():
            raise RuntimeError(f"{len(lost)} of {len(wrong)} alerts did not come to {name}: {sorted(lost)[:3]}")
    return [{key: sink.seen[key] - ms / 1000 for key, ms in feed.appended_ms.items()} for sink in (loki, alertmanager)]


def part_alerts(bench, broker, folder, quick):
    if not l2sinks.VictoriaLogs.is_there() or not l2sinks.Alertmanager.is_there():
        bench.say("alerts: left out: ./run deps sinks has not got Alertmanager and a store for Loki's lines here")
        return []
    each, prefix = 10 if quick else 105, "alerts."
    l2live.topics(broker.bootstrap, prefix, 4)
    wrong = [pair for i in range(each) for pair in ((NAN_RATE, f"S{i:03}"), (NAN_AHEAD, f"S{i + each:03}"))]
    bench.say(f"alerts: {len(wrong)} cryptos of {CRYPTOS} go wrong, one after another")
    with l2sinks.VictoriaLogs(f"{folder}/loki") as store, l2sinks.Alertmanager(f"{folder}/alertmanager") as manager, \
            Relay(store.port, loki_keys) as loki, Relay(manager.port, alertmanager_keys) as alertmanager:
        found = measure(bench, broker, folder, prefix, wrong, loki, alertmanager)
        shown = {line["key"] for line in store.lines()}, {a["annotations"]["key"] for a in manager.alerts()}
    rows = []
    for name, seconds, keys in zip(("Loki", "Alertmanager"), found, shown):
        if lost := seconds.keys() - keys:
            raise RuntimeError(f"{name} does not show {len(lost)} of {len(seconds)} alerts: {sorted(lost)[:3]}")
        values = list(seconds.values())
        p50, p99 = bench.quantile(values, 0.5), bench.quantile(values, 0.99)
        bench.say(f"alerts: {name}: p50 {p50:.2f} s, p99 {p99:.2f} s, latest {max(values):.2f} s over {len(values)}")
        rows += [bench.row(f"cause to alert at {name}, p50 of {len(values)}", p50, "s"),
                 bench.row(f"cause to alert at {name}, p99", p99, "s", f"<= {GOAL_S} s", p99 <= GOAL_S)]
    return rows
