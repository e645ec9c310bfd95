"""A control plane to measure against: etcd and an API server as tests have them, with a record of who asked what.

Nothing runs pods; deployments, endpoints and garbage are looked after only where the controllers are started too.
etcd does not wait for the disk.
"""

import collections
import contextlib
import http.client
import json
import os
import secrets
import ssl
import subprocess
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from models import ROOT
from servers import free_port

ADMIN, CONTROLLERS = "admin", "controllers"
WRITES = ("create", "update", "patch", "delete", "deletecollection")


def programs():
    """Where etcd, kube-apiserver and kubectl are, as the tests look for them."""
    given = os.environ.get("KUBEBUILDER_ASSETS")
    if given:
        return Path(given)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "weir" / "programs"
    built = sorted(cache.glob("kubernetes-*/kube-apiserver"), key=lambda path: path.stat().st_mtime)
    if not built:
        raise SystemExit("no Kubernetes programs: cargo test -p weir-e2e --test api_server builds them")
    return built[-1].parent


class Plane:
    """etcd and an API server in `folder`; `users` are those of whom is written down what they ask, each an administrator."""

    def __init__(self, folder, users):
        self.folder, self.programs, self.users = folder, programs(), [*users, CONTROLLERS]
        self.tokens = {user: secrets.token_hex(16) for user in [ADMIN, *self.users]}
        self.ports = [free_port() for _ in range(3)]
        self.running, self.kept = {}, threading.local()
        (folder / "tokens.csv").write_text("".join(f'{token},{user},{user},"system:masters"\n' for user, token in self.tokens.items()))
        policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived", "ResponseStarted"]}
        policy["rules"] = [{"level": "Metadata", "users": self.users}, {"level": "None"}]
        (folder / "audit-policy.json").write_text(json.dumps(policy))
        for user in self.tokens:
            self.kubeconfig(user).write_text(json.dumps(self.config(user)))

    def kubeconfig(self, user):
        return self.folder / f"{user}.kubeconfig"

    def config(self, user):
        cluster = {"server": f"https://127.0.0.1:{self.ports[2]}", "certificate-authority": str(self.certificate())}
        return {
            "apiVersion": "v1", "kind": "Config", "current-context": "weir",
            "clusters": [{"name": "weir", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": self.tokens[user]}}],
            "contexts": [{"name": "weir", "context": {"cluster": "weir", "user": user}}],
        }

    def certificate(self):
        return self.folder / "certificates" / "apiserver.crt"

    def __enter__(self):
        client, peer = (f"http://127.0.0.1:{port}" for port in self.ports[:2])
        try:
            self.run("etcd", "--data-dir", self.folder / "etcd", "--unsafe-no-fsync", "--log-level", "warn", "--quota-backend-bytes", 8 << 30,
                     "--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer,
                     "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}")
            self.serve()
            self.define()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in reversed(list(self.running)):
            self.end(name)

    def run(self, name, *arguments):
        with open(self.folder / f"{name}.log", "a") as log:
            command = [self.programs / name, *arguments]
            self.running[name] = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)

    def end(self, name, at_once=False):
        process = self.running.pop(name)
        process.kill() if at_once else process.terminate()
        process.wait()

    def serve(self):
        """Starts the API server and waits until it is ready."""
        key = self.certificate().with_suffix(".key")
        self.run(
            "kube-apiserver", "--etcd-servers", f"http://127.0.0.1:{self.ports[0]}", "--bind-address", "127.0.0.1", "--advertise-address",
            "127.0.0.1", "--secure-port", self.ports[2], "--cert-dir", self.certificate().parent, "--token-auth-file", self.folder / "tokens.csv",
            "--service-account-issuer", "https://kubernetes.default.svc.cluster.local", "--service-account-signing-key-file", key,
            "--service-account-key-file", key, "--authorization-mode=RBAC", "--service-cluster-ip-range=198.19.0.0/16",
            "--allow-privileged=true", "--endpoint-reconciler-type=none", "--disable-admission-plugins=ServiceAccount",
            "--audit-policy-file", self.folder / "audit-policy.json", "--audit-log-path", self.folder / "audit.log",
        )
        for _ in range(900):
            if self.running["kube-apiserver"].poll() is not None:
                raise SystemExit((self.folder / "kube-apiserver.log").read_text()[-3000:])
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.asked("GET", "/readyz")[0] == 200:
                    return
            time.sleep(0.1)
        raise SystemExit("the API server was not ready in 90 s")

    def control(self, *arguments):
        """Starts the controllers of Kubernetes."""
        self.run("kube-controller-manager", "--kubeconfig", self.kubeconfig(CONTROLLERS), "--leader-elect=false", "--secure-port=0",
                 "--service-account-private-key-file", self.certificate().with_suffix(".key"), *arguments)

    def define(self):
        """Our two kinds, until they are served."""
        kubectl = [self.programs / "kubectl", "--kubeconfig", self.kubeconfig(ADMIN), "--cache-dir", self.folder / "kubectl-cache"]
        for told in (["apply", "--server-side"], ["wait", "--for=condition=Established", "--timeout=60s"]):
            subprocess.run([*kubectl, *told, "--filename", ROOT / "crds" / "yaml"], check=True, stdout=subprocess.DEVNULL)

    def asked(self, method, path, body=None, kind="application/json"):
        """A status and what was said, as the administrator; a connection for each thread."""
        head = {"authorization": f"Bearer {self.tokens[ADMIN]}", "content-type": kind}
        payload = None if body is None else json.dumps(body)
        was_kept = hasattr(self.kept, "connection")
        try:
            if not was_kept:
                trusted = ssl.create_default_context(cafile=self.certificate())
                self.kept.connection = http.client.HTTPSConnection("127.0.0.1", self.ports[2], context=trusted, timeout=60)
            self.kept.connection.request(method, path, payload, head)
            answer = self.kept.connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            vars(self.kept).pop("connection", None)
            # One that was not used for long is closed by the other side.
            if was_kept:
                return self.asked(method, path, body, kind)
            raise

    def done(self, method, path, body=None, kind="application/json"):
        status, said = self.asked(method, path, body, kind)
        if status >= 300:
            raise SystemExit(f"{method} {path}: {status} {said[-500:]}")
        return json.loads(said)

    def create(self, objects, at_once=8):
        """Makes all of (path, object)."""
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(lambda made: self.done("POST", *made), objects))

    def count(self, path):
        """How many there are."""
        some = self.done("GET", f"{path}?limit=1")
        return len(some["items"]) + some["metadata"].get("remainingItemCount", 0)


class Asked:
    """What has been written down since the last look: who asked what when, and how long it took."""

    def __init__(self, plane):
        self.file, self.rest = open(plane.folder / "audit.log", "rb"), b""

    def look(self):
        *lines, self.rest = (self.rest + self.file.read()).split(b"\n")
        return [Request(json.loads(line)) for line in lines]


class Request:
    def __init__(self, event):
        of = event.get("objectRef", {})
        self.user, self.verb, self.status = event["user"]["username"], event["verb"], event.get("responseStatus", {}).get("code")
        self.resource = "/".join(part for part in (of.get("resource", event["requestURI"]), of.get("subresource")) if part)
        self.place = (of.get("namespace"), of.get("name"))
        self.began, self.ended = moment(event["requestReceivedTimestamp"]), moment(event["stageTimestamp"])

    def is_of_lease(self):
        return self.resource == "leases"

    def writes(self):
        return self.verb in WRITES and not self.is_of_lease()


def moment(text):
    return datetime.fromisoformat(text).timestamp()


def tally(requests):
    """`12 get configmaps, 3 patch services`, the most first."""
    counted = collections.Counter(f"{asked.verb} {asked.resource}" for asked in requests)
    return ", ".join(f"{count} {what}" for what, count in counted.most_common())


def metrics(port):
    """What a process says of itself on its admin port; nothing while it does not answer."""
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}
    return {}
