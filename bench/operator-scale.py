#!/usr/bin/env python3
"""The operator with many deployments and policies, on a real API server without nodes.

In this order, each a row: it starts where everything is there already and nothing was made; it rests; single deployments are
changed; another takes over, as at an upgrade; the API server starts again, so that every watch lists anew. On a second
API server everything comes while it runs. Seconds are until the last write of ours, or, where there is none to be made, the
end of the last pass. Calls are those that the API server wrote down, without watches and the Lease; memory is the process's share
of what it maps (PSS), and the most of it that was seen; processor time is that of the operator, and of the API server with its etcd.

    bench/run operator [--deployments 1000] [--policies 200] [--namespaces 20] [--controllers] [--operator PROGRAM]

With `--controllers` those of Kubernetes run too, with their own limits: then what they do is told beside. Not named as the
command is: Python has a module of that name.
"""

import argparse
import contextlib
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from planes import CONTROLLERS, Asked, Plane, metrics, tally
from routers import RELEASE, ROOT, cpu_seconds, proportional
from servers import free_port

GROUP = "/apis/weir.dev/v1alpha1"
# So long nothing is written and no pass ends: it has come to rest.
QUIET = 5
CHANGES = 20
# What it watches: our two, pods, and what it makes.
KINDS = 10


class Operator:
    """One operator's process, and the most memory it has had."""

    def __init__(self, plane, user, program):
        self.user, self.admin, self.most = user, free_port(), 0
        with open(plane.folder / f"{user}.log", "a") as log:
            self.process = subprocess.Popen(
                ["env", f"KUBECONFIG={plane.kubeconfig(user)}", program, "--namespace", "default", "--identity", user,
                 "--log-level", "warn", "--admin", f"127.0.0.1:{self.admin}"], stdout=log, stderr=log,
            )
        threading.Thread(target=self.look, daemon=True).start()

    def look(self):
        with contextlib.suppress(OSError, StopIteration):
            while self.process.poll() is None:
                self.most = max(self.most, proportional(self.process))
                time.sleep(0.1)

    def passes(self):
        return sum(count for name, count in metrics(self.admin).items() if name.startswith("weir_operator_reconciles_total"))

    def leads(self):
        return metrics(self.admin).get("weir_operator_leading") == 1

    def has_listed(self):
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/readyz", timeout=5) as answer:
            return answer.status == 200
        return False

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


class Step:
    """What is asked and used from its begin until nothing happens any more."""

    def __init__(self, plane, operator):
        self.plane, self.operator, self.asked = plane, operator, Asked(plane)
        self.asked.look()
        self.began, self.passes, self.requests = time.time(), operator.passes(), []
        self.used = self.processor()
        operator.most = 0

    def processor(self):
        """Seconds by process: the operator's, and those of the API server and its etcd."""
        server = (self.plane.running[name] for name in ("etcd", "kube-apiserver"))
        return [{process.pid: cpu_seconds(process) for process in of} for of in ([self.operator.process], server)]

    def took(self):
        """Seconds of processor time since the begin, of the operator and of the server. Who came since had none."""
        return [sum(now[pid] - before.get(pid, 0) for pid in now) for now, before in zip(self.processor(), self.used)]

    def look(self):
        found = self.asked.look()
        self.requests += found
        return found

    def rest(self, at_least=0, quiet=QUIET, most=3600):
        """Waits until it rests, after `at_least` passes."""
        moved, passes = time.time(), self.passes
        while time.time() < moved + quiet or passes < self.passes + at_least:
            time.sleep(0.2)
            wrote = [asked for asked in self.look() if asked.user == self.operator.user and asked.writes()]
            now = self.operator.passes()
            if wrote or now != passes:
                moved, passes = time.time(), now
            if self.operator.process.poll() is not None or time.time() > self.began + most:
                raise SystemExit("it ended, or never came to rest")
        self.ended, self.made = moved, passes - self.passes
        return self

    def ours(self):
        return [asked for asked in self.requests if asked.user == self.operator.user and not asked.is_of_lease() and asked.verb != "watch"]

    def writes(self):
        return [asked for asked in self.ours() if asked.writes()]

    def listed(self):
        return {asked.resource for asked in self.ours() if asked.verb == "list"}

    def tell(self, name, objects):
        """A row, and a line of what was asked."""
        writes = self.writes()
        seconds = (max(asked.ended for asked in writes) if writes else self.ended) - self.began
        operator, server = self.took()
        calls = self.ours()
        cells = [
            name, f"{seconds:.1f} s", len(calls), f"{len(calls) / objects:.1f}", len(writes), int(self.made), f"{operator:.2f} s", f"{server:.1f} s",
            f"{proportional(self.operator.process) / 1024:.1f} MB", f"{self.operator.most / 1024:.1f} MB",
        ]
        print("|", " | ".join(map(str, cells)), "|", flush=True)
        if not calls:
            return ""
        took = statistics.mean(asked.ended - asked.began for asked in calls)
        failed = tally(asked for asked in calls if asked.status >= 400 and asked.verb != "get")
        return f"{name}: {tally(calls)}; a call took {1000 * took:.1f} ms" + (f"; refused: {failed}" if failed else "")


class World:
    """What users write: deployments and policies, spread over namespaces."""

    def __init__(self, args):
        self.args = args
        self.size = args.deployments + args.policies

    def namespace(self, index):
        return f"team-{index % self.args.namespaces}"

    def namespaces(self):
        return [("/api/v1/namespaces", {"metadata": {"name": self.namespace(index)}}) for index in range(self.args.namespaces)]

    def path(self, index, kind="slmdeployments"):
        return f"{GROUP}/namespaces/{self.namespace(index)}/{kind}"

    def objects(self):
        made = [(self.path(index), self.deployment(index)) for index in range(self.args.deployments)]
        policies = [(self.path(index, "routepolicies"), self.policy(index)) for index in range(self.args.policies)]
        # As they would come: a policy is made with what it is about.
        every = max(1, len(made) // max(1, len(policies)))
        for place, policy in enumerate(policies):
            made.insert(min(len(made), (place + 1) * every + place), policy)
        return made

    def deployment(self, index):
        spec = {"model": {"source": "hf://Qwen/Qwen2.5-0.5B-Instruct-GGUF/qwen2.5-0.5b-instruct-q4_k_m.gguf"}, "resources": {"cpu": "1", "memory": "2Gi"}}
        return {"apiVersion": "weir.dev/v1alpha1", "kind": "SLMDeployment", "metadata": {"name": f"model-{index}"}, "spec": spec}

    def policy(self, index):
        frontier = {"provider": "OpenAI", "model": "big", "apiKeySecretRef": {"name": "keys", "key": "openai"}}
        spec = {
            "models": [f"assistant-{index}"],
            "tiers": [{"name": "small", "deployment": {"name": f"model-{index}"}, "accept": {"threshold": "0.8"}}, {"name": "frontier", "endpoint": frontier}],
        }
        return {"apiVersion": "weir.dev/v1alpha1", "kind": "RoutePolicy", "metadata": {"name": f"policy-{index}"}, "spec": spec}


def settle(step, plane, world):
    """With the controllers beside, ours is over once theirs is: each deployment has its pod."""
    step.rest(at_least=1)
    pods = world.args.deployments + world.args.namespaces
    while world.args.controllers and plane.count("/api/v1/pods") < pods:
        step.rest()
    return step.rest() if world.args.controllers else step


def at_rest(plane, operator):
    step = Step(plane, operator)
    time.sleep(60)
    step.look()
    of = [asked for asked in step.requests if asked.user == operator.user and asked.verb != "watch"]
    used = step.took()[0]
    return f"at rest, a minute: {tally(of)}; {1000 * used:.0f} ms of a core; {proportional(operator.process) / 1024:.1f} MB"


def changes(plane, operator, world):
    """How long after a change of a deployment our first and our last write of it came."""
    first, last, counts = [], [], []
    for index in range(CHANGES):
        step = Step(plane, operator)
        name = f"model-{index}"
        plane.done("PATCH", f"{world.path(index)}/{name}", {"spec": {"resources": {"cpu": "2"}}}, "application/merge-patch+json")
        step.rest(at_least=1, quiet=1.5)
        ended = sorted(asked.ended - step.began for asked in step.writes() if (asked.place[1] or "").startswith(name))
        first.append(ended[0])
        last.append(ended[-1])
        counts.append(len(step.ours()))
    middle = lambda values: f"{1000 * statistics.median(values):.0f} ms (at most {1000 * max(values):.0f})"
    return f"a change of one deployment's spec: its first write after {middle(first)}, the last after {middle(last)}, {statistics.median(counts):.0f} calls"


def head():
    cells = ["what", "took", "calls", "an object", "writes", "passes", "operator's processor", "API server's", "memory", "at most"]
    print("|", " | ".join(cells), "|\n|", " | ".join("---" for _ in cells), "|", flush=True)


def of_controllers(step):
    of = [asked for asked in step.requests if asked.user == CONTROLLERS and asked.verb != "watch"]
    if not of:
        return []
    wrote = [asked for asked in of if asked.writes()]
    return [f"the controllers: {len(of)} calls, {len(wrote)} writes, the last after {max(asked.ended for asked in wrote) - step.began:.0f} s"]


@contextlib.contextmanager
def world_of(args, users):
    """A control plane with the namespaces."""
    world = World(args)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder, Plane(Path(folder), users) as plane:
        if args.controllers:
            plane.control("--kube-api-qps", args.controllers, "--kube-api-burst", 2 * args.controllers)
        plane.create(world.namespaces())
        yield plane, world


def there_already(args):
    """Everything is there before the operator is."""
    with world_of(args, ["one", "two"]) as (plane, world):
        plane.create(world.objects())
        with Operator(plane, "one", args.operator) as one:
            step = settle(Step(plane, one), plane, world)
            yield step.tell("from nothing", world.size)
            yield of_controllers(step)
            yield at_rest(plane, one)
            yield changes(plane, one, world)
            with Operator(plane, "two", args.operator) as two:
                until(two.has_listed)
                # It has nothing to do yet but to wait.
                time.sleep(2)
                step = Step(plane, two)
                one.stop()
                yield step.rest(at_least=args.deployments).tell("another takes over", world.size)
                step = Step(plane, two)
                # What was seen last is too old for one that begins after this.
                plane.create([("/api/v1/namespaces", {"metadata": {"name": "one-more"}})])
                plane.end("kube-apiserver", at_once=True)
                plane.serve()
                step.began = time.time()
                with contextlib.suppress(TimeoutError):
                    until(lambda: step.look() is not None and len(step.listed()) >= KINDS, 30)
                yield step.rest().tell(f"{len(step.listed())} of {KINDS} watches list anew", world.size)


def coming(args):
    """Everything comes while the operator runs, as fast as the API server takes it."""
    with world_of(args, ["one"]) as (plane, world), Operator(plane, "one", args.operator) as one:
        until(one.leads)
        step = Step(plane, one)
        plane.create(world.objects())
        yield f"while it runs: all that users write was there after {time.time() - step.began:.1f} s"
        yield settle(step, plane, world).tell("while it runs", world.size)
        yield of_controllers(step)


def of_controllers(step):
    of = [asked for asked in step.requests if asked.user == CONTROLLERS and asked.verb != "watch"]
    wrote = [asked.ended for asked in of if asked.writes()]
    if not wrote:
        return None
    return f"the controllers beside: {len(of)} calls, {len(wrote)} writes, the last after {max(wrote) - step.began:.0f} s"


def until(is_so, seconds=120):
    for _ in range(10 * seconds):
        if is_so():
            return
        time.sleep(0.1)
    raise TimeoutError("it never came to be")


STEPS = {"there": there_already, "coming": coming}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--deployments", type=int, default=1000)
    parser.add_argument("--policies", type=int, default=200)
    parser.add_argument("--namespaces", type=int, default=20)
    parser.add_argument("--controllers", type=int, nargs="?", const=20, help="calls a second of each of them")
    parser.add_argument("--operator", type=Path, help="another build of it")
    parser.add_argument("--steps", default=",".join(STEPS))
    parser.add_argument("--folder", help="where etcd's data lie meanwhile")
    args = parser.parse_args()
    if not args.operator:
        subprocess.run(["cargo", "build", "--release", "-p", "weir-operator"], cwd=ROOT, check=True)
        args.operator = RELEASE / "weir-operator"
    cells = ["what", "took", "calls", "an object", "writes", "passes", "operator's processor", "API server's", "memory", "at most"]
    print("|", " | ".join(cells), "|\n|", " | ".join("---" for _ in cells), "|", flush=True)
    told = [line for name in args.steps.split(",") for line in STEPS[name](args)]
    print()
    print("\n".join(line for line in told if line))


if __name__ == "__main__":
    main()
