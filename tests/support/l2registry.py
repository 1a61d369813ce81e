"""l2registry: schema registries for tests, on loopback.

    with Apicurio(tmp_path / "registry") as registry:   # the real one (tools/dev/registry.sh), in memory; 6 s, 240 MB
        registry.url                                    # http://127.0.0.1:PORT/apis/ccompat/v7
        registry.register("l2.bars-value", schema)      # → id; raises Refused(409, …) when incompatible

    with Contract(user="u", password="p", tls=folder) as registry:   # a server of our own, for what cannot be asked of it:
        registry.add(7, schema)                         # faults, outages, credentials, TLS
        registry.fail = 503                             # every answer from now on; None: no more
        registry.asked                                  # the paths that were asked for, with their times

Both end with the process that started them.
"""

import base64
import http.server
import json
import pathlib
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request

import l2kafka

HOME = l2kafka.ROOT / ".deps" / "registry"
READY_SECONDS_MAX = 90
TYPE = "application/vnd.schemaregistry.v1+json"


class Refused(RuntimeError):
    def __init__(self, status, text):
        super().__init__(f"{status}: {text}")
        self.status = status


def call(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": TYPE, "Accept": TYPE})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as e:
        raise Refused(e.code, e.read().decode(errors="replace")) from e


class Apicurio:
    def __init__(self, directory, port=None):
        self.dir = pathlib.Path(directory).resolve()
        self.dir.mkdir(parents=True, exist_ok=True)
        self.port = port or l2kafka.free_port()
        self.url = f"http://127.0.0.1:{self.port}/apis/ccompat/v7"
        self._child = None

    @staticmethod
    def installed():
        return (HOME / "stamp").exists()

    def __enter__(self):
        jar = next(HOME.glob("*-runner.jar"))
        command = ["setpriv", "--pdeathsig", "KILL", "java", "-Xmx512m", "-XX:+UseSerialGC", "-Dquarkus.http.host=127.0.0.1",
                   f"-Dquarkus.http.port={self.port}", "-jar", str(jar)]
        log = self.dir / "registry.log"

        def spawn():
            with open(log, "ab") as out:
                return subprocess.Popen(command, cwd=self.dir, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

        self._child = l2kafka._SPAWNER.submit(spawn).result()
        until = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < until and self._child.poll() is None:
            try:
                call(f"{self.url}/subjects")
                return self
            except (OSError, Refused):
                time.sleep(0.2)
        self.__exit__()
        raise RuntimeError(f"Apicurio did not start: {log.read_text(errors='replace')[-2000:]}")

    def __exit__(self, *_):
        self._child.kill()
        self._child.wait()

    def register(self, subject, schema):
        text = schema if isinstance(schema, str) else json.dumps(schema)
        return call(f"{self.url}/subjects/{subject}/versions", {"schemaType": "AVRO", "schema": text})["id"]

    def demand(self, subject, level="BACKWARD_TRANSITIVE"):
        """Compatibility that the subject insists on."""
        request = urllib.request.Request(f"{self.url}/config/{subject}", json.dumps({"compatibility": level}).encode(),
                                         {"Content-Type": TYPE}, method="PUT")
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10).close()


class Contract:
    """What Confluent's API promises, as far as a reader of schemas needs it, and every fault at will."""

    def __init__(self, port=0, user=None, password=None, tls=None):
        self.schemas, self.subjects, self.asked = {}, {}, []
        self.fail = None  # a status for everything; 0: hangs up
        self.override = {}  # path → (status, bytes)
        self.user, self.password = user, password
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.ca = None
        if tls is not None:
            self._tls(pathlib.Path(tls))
        self.url = f"{'https://localhost' if tls is not None else 'http://127.0.0.1'}:{self.port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def _tls(self, folder):
        key, self.ca = folder / "key.pem", folder / "cert.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", self.ca, "-days", "1",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.ca, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def add(self, schema_id, schema):
        self.schemas[schema_id] = schema if isinstance(schema, str) else json.dumps(schema)

    def register(self, subject, schema):
        text = schema if isinstance(schema, str) else json.dumps(schema)
        return call(f"{self.url}/subjects/{subject}/versions", {"schemaType": "AVRO", "schema": text})["id"]

    def _answer(self, path, body):
        if path in self.override:
            return self.override[path]
        parts = path.strip("/").split("/")
        if parts[:2] == ["schemas", "ids"]:
            schema = self.schemas.get(int(parts[2]))
            if schema is None:
                return 404, json.dumps({"error_code": 40403, "message": "Schema not found"}).encode()
            return 200, json.dumps({"schema": schema}).encode()
        if parts[0] == "subjects" and body is not None:
            known = self.subjects.setdefault(parts[1], {})
            schema = json.loads(body)["schema"]
            if schema not in known:
                if parts[2:] != ["versions"]:
                    return 404, json.dumps({"error_code": 40403, "message": "Schema not found"}).encode()
                known[schema] = 1000 + len(self.schemas)
                self.add(known[schema], schema)
            return 200, json.dumps({"id": known[schema]}).encode()
        return 404, b'{"error_code":404,"message":"HTTP 404 Not Found"}'

    def _handler(self):
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def _serve(self, body):
                registry.asked.append((time.monotonic(), self.path))
                want = "Basic " + base64.b64encode(f"{registry.user}:{registry.password}".encode()).decode()
                if registry.fail == 0:
                    self.close_connection = True
                    return
                if registry.user and self.headers.get("Authorization") != want:
                    status, data = 401, b'{"error_code":401,"message":"Unauthorized"}'
                elif registry.fail:
                    status, data = registry.fail, b"{}"
                else:
                    status, data = registry._answer(self.path, body)
                self.send_response(status)
                self.send_header("Content-Type", TYPE)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self):
                self._serve(None)

            def do_POST(self):
                self._serve(self.rfile.read(int(self.headers["Content-Length"])))

            def log_message(self, *_):
                pass

        return Handler
