"""l2certs: throw-away certificates for tests, by openssl.

    certs = l2certs.make(folder)      # a second or two
    certs.ca, certs.foreign_ca        # PEM files for clients: the right authority, and one that signed nothing of ours
    certs.keystore(kind)              # PEM file of key and certificate for a server; kind is one of KINDS
    certs.client("secret")            # (certificate, key), PEM files for a client; the key is encrypted with that password

The keys are of the folder that they are made in, readable by their owner alone; nothing here is for production.
"""

import pathlib
import subprocess

# kind: (subjectAltName, days that it is valid: negative is over already)
KINDS = {
    "server": ("DNS:localhost,IP:127.0.0.1", 30),
    "wrong_host": ("DNS:kafka.example.com", 30),
    "expired": ("DNS:localhost,IP:127.0.0.1", -1),
    "mutual": ("DNS:localhost,IP:127.0.0.1", 30),  # for a server that asks for the client's
}


def _openssl(*words):
    done = subprocess.run(["openssl", *words], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {' '.join(words)}: {done.stderr}")


class Certificates:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.ca = self.folder / "ca.pem"
        self.foreign_ca = self.folder / "foreign_ca.pem"

    def keystore(self, kind):
        return self.folder / f"{kind}.pem"

    def client(self, password):
        _server(self.folder, "client")
        key = self.folder / "client.encrypted.key"
        _openssl("pkcs8", "-topk8", "-in", str(self.folder / "client.key"), "-out", str(key), "-v2", "aes-256-cbc",
                 "-passout", f"pass:{password}")
        return self.folder / "client.crt", key


def _key(path):
    _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(path))
    path.chmod(0o600)


def _authority(folder, name):
    _key(folder / f"{name}.key")
    _openssl("req", "-x509", "-key", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem"), "-days", "30",
             "-subj", f"/CN=l2flow test {name}", "-addext", "basicConstraints=critical,CA:TRUE",
             "-addext", "keyUsage=critical,keyCertSign")


def _server(folder, kind):
    names, days = KINDS.get(kind, KINDS["server"])
    key, request, extensions = folder / f"{kind}.key", folder / f"{kind}.csr", folder / f"{kind}.ext"
    extensions.write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth,clientAuth\n")
    _key(key)
    _openssl("req", "-new", "-key", str(key), "-out", str(request), "-subj", f"/CN=l2flow test {kind}")
    _openssl("x509", "-req", "-in", str(request), "-CA", str(folder / "ca.pem"), "-CAkey", str(folder / "ca.key"),
             "-CAcreateserial", "-days", str(days), "-extfile", str(extensions), "-out", str(folder / f"{kind}.crt"))
    store = folder / f"{kind}.pem"
    store.touch(mode=0o600)
    store.write_text(key.read_text() + (folder / f"{kind}.crt").read_text())


def make(folder):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("ca", "foreign_ca"):
        _authority(folder, name)
    for kind in KINDS:
        _server(folder, kind)
    return Certificates(folder)
