"""l2sinks: what alerts are delivered to, for tests: real servers, and one that checks what it is sent against the documented shapes.

    alert(symbol="BTCUSDT", version=1, state="p2", …)        a record of l2.alerts
    send(bootstrap, prefix, alerts, partition=None)          to the topic, keyed by symbol
    with Contract(kind) as c:   c.url, c.taken               a Grafana, webhook, Airflow … that refuses what is not as documented
        c.answer(429, times=3, headers={"Retry-After": "1"}) faults, before requests are looked at; c.hang(seconds), c.stop(), c.start()
    with Alertmanager(folder) as a:  a.url, a.firing()
    with VictoriaLogs(folder) as v:  v.url, v.lines()        None where it is not installed: VictoriaLogs.is_there()
    with Probe(folder, bootstrap, prefix, settings) as p:    the sinks on that topic; p.kill(), p.start(), p.stop(), p.sink("…", name)
"""

import datetime
import http.server
import json
import os
import pathlib
import re
import shutil
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request

import confluent_kafka

import l2kafka
import l2live

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
FIRING = ("no_data", "warn", "p2")


def micros(us):
    return EPOCH + datetime.timedelta(microseconds=us)


def alert(symbol="BTCUSDT", version=1, state="p2", previous="ok", signal="l2_feature_nan_rate", since_us=None, **fields):
    since_us = int(time.time() * 1e6) if since_us is None else since_us
    arm = fields.pop("arm", "champion_l2")
    return {"exchange": "binance-usdm", "symbol": symbol, "key": f"{signal}/{arm}/binance-usdm/{symbol}", "version": version,
            "signal": signal, "arm": arm, "state": state, "previous": previous, "since": micros(since_us), "started": micros(since_us),
            "value": 0.25, "threshold": 0.2, "n": 96, "delivery": "send", "spoken_for_by": None, "members": [], "group_size": 0,
            "action": "no_l2", "summary": "a quarter of the columns is null", "runbook": "nan-rate", "source": "test",
            "produced_time": micros(since_us), **fields}


def send(bootstrap, prefix, alerts, raw=()):
    p = confluent_kafka.Producer(l2live.client(bootstrap, **{"enable.idempotence": True, "linger.ms": 5, "partitioner": "murmur2_random"}))
    for key, value in [(a["symbol"].encode(), l2live.encode("alert", a)) for a in alerts] + list(raw):
        p.produce(prefix + "l2.alerts", value, key)
        p.poll(0)
    assert p.flush(60) == 0


# ---- the contract's shapes: what is not among these keys, or of another type, is a fault of ours


def exactly(value, keys, what):
    assert isinstance(value, dict), f"{what}: no object: {value!r}"
    assert set(value) == set(keys), f"{what}: keys {sorted(set(value) ^ set(keys))} are too many or missing"


def text_map(value, what):
    assert isinstance(value, dict) and all(isinstance(v, str) for v in value.values()), f"{what}: not flat text: {value!r}"


def check_annotation(path, headers, body):
    """PostAnnotationsCmd of Grafana: time, timeEnd in ms, tags, text required; no dashboard: of the whole organisation."""
    assert path == "/api/annotations", path
    exactly(body, {"time", "tags", "text"} | ({"timeEnd"} if "timeEnd" in body else set()), "annotation")
    now_ms = time.time() * 1000
    assert isinstance(body["time"], int) and now_ms - 30 * 86400e3 < body["time"] <= now_ms + 5000, body["time"]
    assert body["text"] and isinstance(body["text"], str)
    assert body["tags"][0] == "l2flow" and all(isinstance(t, str) for t in body["tags"])
    if "timeEnd" in body:
        assert isinstance(body["timeEnd"], int) and body["time"] <= body["timeEnd"]
    tags = dict(t.split(":", 1) for t in body["tags"][1:])
    return tags["key"], int(tags["version"]), {"message": "Annotation added", "id": 7}, 200


def check_grafana_webhook(path, headers, body):
    exactly(body, {"receiver", "status", "orgId", "alerts", "groupLabels", "commonLabels", "commonAnnotations", "externalURL", "version",
                   "groupKey", "truncatedAlerts", "title", "state", "message"}, "webhook")
    assert body["version"] == "1" and body["orgId"] == 1 and body["status"] in ("firing", "resolved") and body["truncatedAlerts"] == 0
    for name in ("groupLabels", "commonLabels", "commonAnnotations"):
        text_map(body[name], name)
    [a] = body["alerts"]
    exactly(a, {"status", "labels", "annotations", "startsAt", "endsAt", "values", "generatorURL", "fingerprint", "silenceURL",
                "dashboardURL", "panelURL", "imageURL"}, "alert")
    text_map(a["labels"], "labels")
    text_map(a["annotations"], "annotations")
    assert RFC3339.fullmatch(a["startsAt"]) and RFC3339.fullmatch(a["endsAt"])
    assert (a["endsAt"] == "0001-01-01T00:00:00Z") == (a["status"] == "firing") and re.fullmatch("[0-9a-f]{16}", a["fingerprint"])
    exactly(a["values"], {"value", "threshold"}, "values")
    return body["groupKey"], int(a["annotations"]["version"]), {}, 200


def check_webhook(path, headers, body):
    exactly(body, {"key", "version", "signal", "deployment", "exchange", "symbol", "arm", "state", "previous", "since", "started", "time",
                   "value", "threshold", "n", "action", "members", "group_size", "summary", "text", "runbook", "source"}, "webhook")
    assert headers["Idempotency-Key"] == f"{body['key']}/{body['version']}", headers["Idempotency-Key"]
    assert all(RFC3339.fullmatch(body[k]) for k in ("since", "started", "time"))
    return body["key"], body["version"], {}, 202


def check_alertmanager(path, headers, body):
    """For faults alone: what it is sent is judged by the real one."""
    assert path == "/api/v2/alerts" and isinstance(body, list) and body
    found = []
    for a in body:
        exactly(a, {"labels", "annotations", "startsAt", "endsAt"}, "alert")
        text_map(a["labels"], "labels")
        text_map(a["annotations"], "annotations")
        assert all(v for v in a["labels"].values()) and a["startsAt"] <= a["endsAt"]
        found.append((a["annotations"]["key"], int(a["annotations"]["version"])))
    return found, None, {}, 200


def check_loki(path, headers, body):
    assert path == "/loki/api/v1/push", path
    exactly(body, {"streams"}, "push")
    found = []
    for stream in body["streams"]:
        exactly(stream, {"stream", "values"}, "stream")
        text_map(stream["stream"], "stream")
        assert len(stream["stream"]) <= 15
        for ns, line, metadata in stream["values"]:
            assert isinstance(ns, str) and re.fullmatch(r"\d{19}", ns)
            text_map(metadata, "metadata")
            found.append((ns, metadata["key"], int(metadata["version"])))
    found.sort(key=lambda f: f[0])  # streams have no order among each other, times have
    return [f[1:] for f in found], None, None, 204


def check_airflow(version):
    def check(path, headers, body):
        assert path == f"/api/{version}/dags/l2flow_retrain/dagRuns", path
        exactly(body, {"dag_run_id", "conf", "note"} | ({"logical_date"} if version == "v2" else set()), "DAG run")
        assert body.get("logical_date") is None
        exactly(body["conf"], {"request_id", "cause", "sweep", "window_end"}, "conf")
        assert re.fullmatch(r"[A-Za-z0-9_.~:+-]{1,250}", body["dag_run_id"]) and ".." not in body["dag_run_id"]
        cause = body["conf"]["cause"]
        return cause["key"], cause["version"], {"dag_run_id": body["dag_run_id"], "state": "queued"}, 200
    return check


CHECKS = {"loki": check_loki, "grafana": check_annotation, "grafana_webhook": check_grafana_webhook, "webhook": check_webhook,
          "alertmanager": check_alertmanager, "retrain": check_airflow("v2"), "retrain_v1": check_airflow("v1")}


class Contract:
    """taken: (key, version) in the order that they came, those answered with a yes; requests: (time, path, headers, body) of all;
    wrong: what was not as documented."""

    def __init__(self, kind, tls=None, login=None):
        self.kind, self.check, self.tls, self.login = kind, CHECKS[kind], tls, login
        self.taken, self.requests, self.wrong, self.faults, self.runs = [], [], [], [], set()
        self.lock = threading.Lock()
        self.port = l2kafka.free_port()
        self.url = f"http{'s' if tls else ''}://{'localhost' if tls else '127.0.0.1'}:{self.port}"
        self.server = None
        self.refuse = lambda key, version: None  # a status for this alert
        self.before_answer = lambda: None

    def answer(self, status, times=1, headers=None):
        """None: hangs up without an answer."""
        with self.lock:
            self.faults += [(status, headers or {}, 0)] * times

    def hang(self, seconds, times=1):
        with self.lock:
            self.faults += [(None, {}, seconds)] * times

    def start(self):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # head and body are two writes: 40 ms each otherwise

            def do_POST(self):
                outer.handle(self)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads, allow_reuse_address, request_queue_size = True, True, 64

            def handle_error(self, request, client_address):
                pass  # a client that went away

        self.server = Server(("127.0.0.1", self.port), Handler)
        if self.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
        self.server = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def reply(self, handler, status, body=None, headers=None):
        data = b"" if body is None else json.dumps(body).encode()
        handler.send_response(status)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def handle(self, handler):
        if self.server is None:  # stopped, and the client kept its connection
            handler.close_connection = True
            return
        data = handler.rfile.read(int(handler.headers["Content-Length"]))
        with self.lock:
            fault = self.faults.pop(0) if self.faults else None
            self.requests.append((time.monotonic(), handler.path, dict(handler.headers), data))
        if fault:
            status, headers, seconds = fault
            time.sleep(seconds)
            if status is None:
                handler.close_connection = True
            else:
                self.reply(handler, status, {"message": "planted"}, headers)
            return
        try:
            self.judge(handler, data)
        except AssertionError as error:
            self.wrong.append(str(error))
            self.reply(handler, 400, {"message": str(error)})

    def judge(self, handler, data):
        assert handler.headers["Content-Type"] == "application/json"
        body = json.loads(data.decode())  # strictly UTF-8
        if handler.path == "/auth/token":
            assert body == {"username": self.login[0], "password": self.login[1]}, "login"
            self.reply(handler, 201, {"access_token": self.login[2]})
            return
        if self.login and handler.headers["Authorization"] != f"Bearer {self.login[2]}":
            self.reply(handler, 401, {"detail": "Not authenticated"})
            return
        key, version, answer, status = self.check(handler.path, handler.headers, body)
        found = key if isinstance(key, list) else [(key, version)]
        refused = [s for s in (self.refuse(k, v) for k, v in found) if s]
        if refused:
            self.reply(handler, refused[0], {"message": "refused"})
            return
        if self.kind.startswith("retrain"):
            if body["dag_run_id"] in self.runs:
                self.reply(handler, 409, {"detail": "The DAG run exists already"})
                return
            self.runs.add(body["dag_run_id"])
        with self.lock:
            self.taken += found
        self.before_answer()
        self.reply(handler, status, answer)


# ---- real servers


class Server:
    """A child that ends with the with-block, or with us."""

    def __init__(self, folder, port=None):
        self.folder, self.port = pathlib.Path(folder), port or l2kafka.free_port()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.url = f"http://127.0.0.1:{self.port}"
        self.child = None

    def start(self):
        log = open(self.folder / "log", "ab")
        command = ["setpriv", "--pdeathsig", "KILL", *self.command()]
        self.child = l2kafka._SPAWNER.submit(subprocess.Popen, command, stdin=subprocess.DEVNULL, stdout=log, stderr=log).result()
        log.close()
        deadline = time.monotonic() + 30
        while True:
            try:
                self.get(self.ready)
                return
            except (urllib.error.URLError, OSError):
                if self.child.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self.folder / "log").read_text()[-2000:]) from None
                time.sleep(0.05)

    def kill(self):
        if self.child and self.child.poll() is None:
            self.child.kill()
            self.child.wait()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.kill()

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=20) as answer:
            return answer.read().decode()


# tools/dev/prometheus.sh unpacks it
ALERTMANAGER = shutil.which("prometheus-alertmanager", path=f"{l2live.ROOT / '.deps' / 'prometheus' / 'usr' / 'bin'}:{os.environ['PATH']}")


class Alertmanager(Server):
    ready = "/-/ready"

    @staticmethod
    def is_there():
        return ALERTMANAGER is not None

    def command(self):
        config = self.folder / "alertmanager.yml"
        config.write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
        return [ALERTMANAGER, f"--config.file={config}", f"--storage.path={self.folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}", "--cluster.listen-address="]

    def alerts(self):
        return json.loads(self.get("/api/v2/alerts"))

    def firing(self):
        """{(symbol, severity): alert}"""
        return {(a["labels"]["symbol"], a["labels"]["severity"]): a for a in self.alerts()}


class VictoriaLogs(Server):
    ready = "/health"
    binary = l2kafka.ROOT / ".deps" / "victorialogs" / "victoria-logs"

    @classmethod
    def is_there(cls):
        return cls.binary.exists()

    def command(self):
        return [str(self.binary), f"-storageDataPath={self.folder / 'data'}", f"-httpListenAddr=127.0.0.1:{self.port}"]

    def lines(self, query='service_name:"l2flow"', limit=20000):
        """What is stored, by its time."""
        self.get("/internal/force_flush")
        text = self.get(f"/select/logsql/query?query={urllib.request.quote(query)}&limit={limit}")
        return sorted((json.loads(line) for line in text.splitlines()), key=lambda r: r["_time"])


class Probe(l2live.Producer):
    """The sinks as a child; ends with the with-block."""

    def __init__(self, folder, bootstrap, prefix, settings=None, name="sinks", environment=None):
        super().__init__(folder, bootstrap, prefix, settings, environment, name)
        text = self.config.read_text()
        self.config.write_text(text.replace("exchange = binance-usdm\n", ""))

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([l2live.binary("sinks_probe"), "--config", str(self.config)], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, env=self.environment)

    def sink(self, name, metric):
        """Of l2flow_sink_<metric>; None: it does not answer."""
        found = re.search(rf'^l2flow_sink_{metric}\{{sink="{name}"\}} (\S+)$', self.get("/metrics") or "", re.M)
        return float(found[1]) if found else None
