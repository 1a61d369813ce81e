"""The Dockerfile, docker-compose.yml and the manifests: valid by their schemas, and as closed as they say.

No cluster and no container engine are needed. `faults_of_pod` and `faults_of_compose` are proven on planted faults below.
"""

import copy
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
BASE = ROOT / "deploy" / "k8s" / "base"
KUBERNETES = "1.34"
TOOLS = pathlib.Path(sys.executable).parent


def documents():
    for path in sorted(BASE.glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            yield path.name, document


def of_kind(kind):
    return [document for _, document in documents() if document["kind"] == kind]


def services():
    """{name: StatefulSet}: one a service."""
    return {document["metadata"]["name"]: document for document in of_kind("StatefulSet")}


def named(kind, name):
    return next(document for document in of_kind(kind) if document["metadata"]["name"] == name)


def faults_of_pod(spec):
    """What the Pod Security Standard 'restricted' and our own rules have against a pod's spec."""
    pod = spec.get("securityContext", {})
    rules = {
        "runs as root": pod.get("runAsNonRoot") is True and pod.get("runAsUser", 0) > 0,
        "seccomp": pod.get("seccompProfile", {}).get("type") == "RuntimeDefault",
        "token": spec.get("automountServiceAccountToken") is False,
        "host": not any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")),
    }
    for container in spec["containers"]:
        own = container.get("securityContext", {})
        rules |= {
            "escalation": own.get("allowPrivilegeEscalation") is False,
            "root file system": own.get("readOnlyRootFilesystem") is True,
            "capabilities": own.get("capabilities") == {"drop": ["ALL"]},
            "memory limit": "memory" in container.get("resources", {}).get("limits", {}),
            "probes": container.get("livenessProbe", {}).get("httpGet", {}).get("path") == "/healthz"
            and container.get("readinessProbe", {}).get("httpGet", {}).get("path") == "/readyz",
            "latest": not container["image"].endswith(":latest"),
        }
    return [name for name, kept in rules.items() if not kept]


def faults_of_compose(compose, dockerfile):
    targets = set(re.findall(r"^FROM .* AS (\S+)$", dockerfile, re.M))
    services = compose["services"]
    for name, service in services.items():
        if "build" in service:
            if service["build"].get("target") not in targets:
                yield f"{name}: the Dockerfile has no target {service['build'].get('target')}"
        elif not re.search(r":\d[\w.-]*$", service["image"]):
            yield f"{name}: {service['image']} is not pinned"
        for port in service.get("ports", []):
            if not re.match(r"127\.0\.0\.1:(\d+|\$\{\w+:-\d+\}):\d+$", str(port)):
                yield f"{name}: port {port} is open beyond loopback"
        for other, wanted in service.get("depends_on", {}).items():
            if other not in services:
                yield f"{name}: depends on {other}, which is not there"
            elif wanted["condition"] == "service_healthy" and not has_health_check(services[other], dockerfile):
                yield f"{name}: waits for the health of {other}, which nobody checks"
        for source in (str(volume).split(":")[0] for volume in service.get("volumes", [])):
            if source.startswith(".") and not (ROOT / source).exists():
                yield f"{name}: {source} is not there"


def has_health_check(service, dockerfile):
    target = service.get("build", {}).get("target")
    stage = re.search(rf"^FROM .* AS {target}$(.*?)(?=^FROM |\Z)", dockerfile, re.M | re.S) if target else None
    return "healthcheck" in service or bool(stage and "HEALTHCHECK" in stage.group(1))


class Manifests(unittest.TestCase):
    def test_schemas(self):
        for name, document in documents():
            if document["kind"] != "Kustomization":
                with self.subTest(name):
                    kubernetes_validate.validate(document, KUBERNETES, strict=True)

    def test_schema_check_is_awake(self):
        broken = copy.deepcopy(of_kind("StatefulSet")[0])
        broken["spec"]["replicaCount"] = 3
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(broken, KUBERNETES, strict=True)

    def test_kustomization_lists_every_file(self):
        listed = yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]
        self.assertEqual(sorted(listed + ["kustomization.yaml"]), sorted(path.name for path in BASE.glob("*.yaml")))

    @unittest.skipUnless(shutil.which("kubectl"), "kubectl is not here")
    def test_kustomize_renders(self):
        done = subprocess.run(["kubectl", "kustomize", str(BASE)], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        for document in yaml.safe_load_all(done.stdout):
            kubernetes_validate.validate(document, KUBERNETES, strict=True)

    def test_pod_is_restricted(self):
        for workload in services().values():
            spec = workload["spec"]["template"]["spec"]
            self.assertEqual(faults_of_pod(spec), [], workload["metadata"]["name"])
        self.assertEqual(of_kind("Namespace")[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted")
        for plant, fault in (
                (lambda s: s["securityContext"].pop("runAsNonRoot"), "runs as root"),
                (lambda s: s["securityContext"].pop("seccompProfile"), "seccomp"),
                (lambda s: s.pop("automountServiceAccountToken"), "token"),
                (lambda s: s.update(hostNetwork=True), "host"),
                (lambda s: s["containers"][0]["securityContext"].pop("allowPrivilegeEscalation"), "escalation"),
                (lambda s: s["containers"][0]["securityContext"].pop("readOnlyRootFilesystem"), "root file system"),
                (lambda s: s["containers"][0]["securityContext"]["capabilities"].update(add=["NET_RAW"]), "capabilities"),
                (lambda s: s["containers"][0]["resources"].pop("limits"), "memory limit"),
                (lambda s: s["containers"][0].pop("readinessProbe"), "probes"),
                (lambda s: s["containers"][0].update(image="x:latest"), "latest")):
            planted = copy.deepcopy(spec)
            plant(planted)
            self.assertEqual(faults_of_pod(planted), [fault])

    def test_names_agree(self):
        self.assertEqual(named("NetworkPolicy", "default-deny")["spec"], {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})
        self.assertEqual(sorted(services()), ["bar-archiver", "feature-producer", "quality-monitor"])
        for name, workload in services().items():
            with self.subTest(name):
                template = workload["spec"]["template"]
                labels, spec = template["metadata"]["labels"], template["spec"]
                self.assertEqual(labels, {"app.kubernetes.io/name": name})
                self.assertEqual(workload["spec"]["selector"]["matchLabels"], labels)
                self.assertEqual(workload["spec"]["serviceName"], name)
                service = named("Service", name)["spec"]
                self.assertEqual(service["selector"], labels)
                self.assertEqual(service["ports"][0]["port"], spec["containers"][0]["ports"][0]["containerPort"])
                self.assertEqual(named("PodDisruptionBudget", name)["spec"]["selector"]["matchLabels"], labels)
                self.assertEqual(named("NetworkPolicy", name)["spec"]["podSelector"]["matchLabels"], labels)
                self.assertIs(named("ServiceAccount", spec["serviceAccountName"])["automountServiceAccountToken"], False)
                mounted = {volume["name"] for volume in spec["volumes"]}
                self.assertEqual({mount["name"] for mount in spec["containers"][0]["volumeMounts"]}, mounted)

    def test_configuration_is_accepted(self):
        """The ConfigMap's text, by the program itself; only the secret's folder is another one."""
        for name, workload in services().items():
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                self.check_configuration(name, workload, folder)

    def check_configuration(self, name, workload, folder):
        program = pathlib.Path(os.environ["L2FLOW_BIN"], name)
        pathlib.Path(folder, "password").write_text("x\n")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
                        "/CN=x", "-keyout", f"{folder}/ca.key", "-out", f"{folder}/ca.crt"], check=True, capture_output=True)
        conf = pathlib.Path(folder, f"{name}.conf")
        text = re.sub("/etc/l2flow/(kafka|postgres)/", f"{folder}/", (BASE / f"{name}.conf").read_text())
        variables = {item["name"]: item.get("value", f"{name}-0")
                     for item in workload["spec"]["template"]["spec"]["containers"][0]["env"]}
        for added, code in (("", 0), ("no_such_key = 1\n", 78)):
            conf.write_text(text + added)
            done = subprocess.run([program, "--config", conf, "--check-config"], env={**os.environ, **variables},
                                  capture_output=True, text=True, check=False, timeout=20)
            self.assertEqual(done.returncode, code, done.stderr)


    def test_one_monitor_at_a_time(self):
        """Two would each tell the same alerts: never a second replica, and pods replaced one after the other."""
        spec = services()["quality-monitor"]["spec"]
        self.assertEqual(spec["replicas"], 1)
        self.assertNotIn("podManagementPolicy", spec)
        self.assertEqual([d["metadata"]["name"] for d in of_kind("HorizontalPodAutoscaler")], [])


class Images(unittest.TestCase):
    def hadolint(self, text):
        return subprocess.run([TOOLS / "hadolint", "-"], input=text, capture_output=True, text=True, check=False)

    def test_dockerfile(self):
        text = (ROOT / "Dockerfile").read_text()
        done = self.hadolint(text)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertNotEqual(self.hadolint(text + "RUN cd /tmp && sudo ls\n").returncode, 0)
        for stage in ("feature-producer", "bar-archiver", "quality-monitor", "l2replay", "l2ctl", "l2monitor"):
            self.assertIn(f"FROM runtime AS {stage}\n", text)
        self.assertRegex(text, r"(?m)^USER 65532:65532$")

    def test_compose(self):
        dockerfile = (ROOT / "Dockerfile").read_text()
        compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
        self.assertEqual(list(faults_of_compose(compose, dockerfile)), [])
        for plant, fault in (
                (lambda s: s["kafka"].update(image="apache/kafka:latest"), "not pinned"),
                (lambda s: s["kafka"].update(ports=["9092:9092"]), "beyond loopback"),
                (lambda s: s["kafka"].pop("healthcheck"), "nobody checks"),
                (lambda s: s["feature-producer"]["build"].update(target="x"), "no target"),
                (lambda s: s["feature-producer"]["depends_on"].update(x={"condition": "service_started"}), "not there"),
                (lambda s: s["feature-producer"].setdefault("volumes", []).append("./x:/x:ro"), "not there")):
            planted = copy.deepcopy(compose)
            plant(planted["services"])
            self.assertIn(fault, "".join(faults_of_compose(planted, dockerfile)))

    def test_compose_options_exist(self):
        """Every option that docker-compose.yml gives stands in the program's --help."""
        compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
        given = 0
        for service in compose["services"].values():
            words = service.get("command", [])
            if "build" in service and words:
                program = pathlib.Path(os.environ["L2FLOW_BIN"], service["build"]["target"])
                verbs = [word for word in words[:1] if not word.startswith("-")]
                shown = subprocess.run([program, *verbs, "--help"], capture_output=True, text=True, check=True, timeout=20)
                for option in (word.split("=")[0] for word in words if word.startswith("--")):
                    given += 1
                    self.assertRegex(shown.stdout, rf"{option}\b", f"{program.name} has no {option}")
        self.assertGreater(given, 5)
        # The market's whole command line is sound: all that it lacks is a broker (69), not a word (64) or a file (66).
        program = pathlib.Path(os.environ["L2FLOW_BIN"], "l2replay")
        words = [word.replace("=/data/", f"={ROOT}/tests/data/").replace("=kafka:9093", "=127.0.0.1:1")
                 for word in compose["services"]["market"]["command"]]
        done = subprocess.run([program, *words], capture_output=True, text=True, check=False, timeout=60)
        self.assertEqual(done.returncode, 69, done.stderr)


if __name__ == "__main__":
    unittest.main()
