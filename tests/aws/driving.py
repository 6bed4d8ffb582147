"""`infra` at work on EC2's stand-in: as processes that are killed, or inline in virtual time; and what they leave.

Run as a program it is the ancestor of those processes: it has imported everything, and forks one at a time.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from threading import Event as Flag
from typing import Any, Final
from uuid import uuid4

import yaml

from infrakit_providers.aws import kept
from infrakit_providers.aws.places import own_tags
from infrakit_providers.aws.tickets import Ticket
from infrakit_py.app import App, root
from infrakit_py.app.workbench import Workbench
from infrakit_py.engine.converge import Settlement
from infrakit_py.engine.engine import Engine
from infrakit_py.engine.events import Event
from infrakit_py.engine.runner import InlineRunner, Runner
from infrakit_py.model import tags
from infrakit_py.spi.store import Store
from infrakit_py.stores.sqlite import SqliteStore
from tests.fakes.ec2 import FakeEC2
from tests.fakes.ec2 import settings as seeded
from tests.fakes.ec2.tables import Instance

CLUSTER: Final = "shop"
IMAGES: Final = {"v1": seeded.LINUX, "v2": seeded.LINUX_2}
POLL_SECONDS: Final = 0.1
"""How often a group that waits is looked at where machines boot in a moment."""
_TIMEOUT_SECONDS: Final = 60.0
_FOR_ALL: Final = (
    "infrakit_groups.flavors.vanilla",
    "infrakit_providers.aws.provider",
    "infrakit_py.cli.apply",
    "infrakit_py.cli.changing",
    "infrakit_py.cli.destroy",
    "infrakit_py.cli.failure",
    "infrakit_py.cli.looking",
)
"""What the ancestor imports, and its forks therefore need not."""


# What is declared.


def cluster(*, settings: Mapping[str, Any] | None = None, **groups: Mapping[str, Any]) -> dict[str, Any]:
    """Return a cluster on EC2, with images v1 and v2."""
    provider = {"plugin": "aws", "region": "eu-central-1", "listing_lag": "0s", **(settings or {})}
    return {
        "apiVersion": "infrakit-py/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": CLUSTER},
        "providers": {"aws": provider},
        "images": {name: {"reference": reference} for name, reference in IMAGES.items()},
        "groups": groups,
    }


def web(size: int = 4, image: str = "v1", machine: Mapping[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Return a group of interchangeable machines."""
    machine = {"instance_types": "t3.micro", **(machine or {})}
    return {"provider": "aws", "image": image, "size": size, "machine": machine, **changes}


def db(*names: str, image: str = "v1", **changes: Any) -> dict[str, Any]:
    """Return a group of named machines with a data disk and an address each."""
    disk = {"name": "data", "device": "/dev/sdf", "size": "1GiB"}
    machine = {"data_disks": [disk], "elastic_ip": True}
    named = web(image=image, machine=machine, logical_ids=list(names or ("db-1", "db-2")), **changes)
    return {key: value for key, value in named.items() if key != "size"}


# What is there.


def members(fake: FakeEC2, group: str, *states: str) -> list[Instance]:
    """Return a group's instances that are not on their way out, past every lag."""
    wanted = {tags.CLUSTER: CLUSTER, tags.GROUP: group}
    return fake.instances(*(states or ("pending", "running", "stopping", "stopped")), tags=wanted)


def tags_of(fake: FakeEC2, instance: Instance) -> Mapping[str, str]:
    return own_tags(fake.tags_of(instance.id), instance.index)


def serving(fake: FakeEC2, group: str, *, behind: bool) -> list[Instance]:
    """Return a group's instances that run, and that take part behind the load balancer where they are to."""
    targets = fake.targets() if behind else {}
    return [one for one in members(fake, group, "running") if not behind or targets.get(one.id) == "healthy"]


def faults_of(fake: FakeEC2, document: Mapping[str, Any] | None) -> list[str]:
    """Return in what the account differs from what is declared: missing, surplus, unlike, leaked, untagged.

    Without a document nothing at all may be there.
    """
    groups: Mapping[str, Any] = document["groups"] if document else {}
    found = [fault for name, group in groups.items() for fault in _faults_of_group(fake, name, group)]
    there = {one.id for one in fake.instances()}
    declared = {one.id for name in groups for one in members(fake, name)}
    found += [f"{id_} ({fake.state_of(id_)}) is of no group" for id_ in there - declared]
    kept_for = {
        (name, key) for name, group in groups.items() for key in group.get("logical_ids", ()) if _keeps(group)
    }
    disks = [one for one in fake.volumes() if kept.KEY in one.tags]
    found += [f"volume {one.id} leaked" for one in fake.volumes() if one not in disks and one.instance not in there]
    found += [f"interface {one.id} leaked" for one in fake.interfaces() if one.instance not in there]
    for what, things in (("disks", disks), ("addresses", fake.addresses())):
        owners = sorted((one.tags[tags.GROUP], one.tags[kept.KEY]) for one in things)
        if owners != sorted(kept_for):
            found.append(f"{what} of {owners}, not of {sorted(kept_for)}")
    behind = {one.id for name, group in groups.items() if _is_behind(group) for one in members(fake, name)}
    targets = {id_: state for id_, state in fake.targets().items() if state != "draining"}  # those are let go
    if targets != dict.fromkeys(behind, "healthy"):
        found.append(f"targets {targets}, not {sorted(behind)}")
    tagged = [fake.tags_of(id_) for id_ in there]
    for table in (fake.volumes(), fake.interfaces(), fake.addresses()):
        tagged += [one.tags for one in table]
    found += [f"not tagged as ours: {held}" for held in tagged if held.get(tags.CLUSTER) != CLUSTER]
    return found


def _faults_of_group(fake: FakeEC2, name: str, group: Mapping[str, Any]) -> Iterator[str]:
    there = members(fake, name)
    slots = sorted(tags_of(fake, one).get(tags.SLOT, "?") for one in there)
    names = group.get("logical_ids")
    wanted = len(names) if names is not None else group["size"]
    if len(set(slots)) != len(slots) or len(slots) != wanted:
        yield f"{name}: slots {slots}, not {wanted} different ones"
    if names is not None and slots != sorted(names):
        yield f"{name}: members {slots}, not {names}"
    for one in there:
        if one.image.id != IMAGES[group["image"]]:
            yield f"{name}: {one.id} boots from {one.image.id}"
        if fake.state_of(one.id) != "running":
            yield f"{name}: {one.id} is {fake.state_of(one.id)}"
        held = tags_of(fake, one)
        if tags.DRAINING in held:
            yield f"{name}: {one.id} is draining"
        if _keeps(group):
            own = [v for v in fake.volumes() if v.tags.get(kept.KEY) == held.get(tags.LOGICAL_ID)]
            if [v.instance for v in own] != [one.id]:
                yield f"{name}: the disk of {held.get(tags.LOGICAL_ID)} is with {[v.instance for v in own]}"
            with_addresses = {a.interface for a in fake.addresses()}
            if not with_addresses & {interface.id for interface in one.interfaces}:
                yield f"{name}: {one.id} has no address"


def _keeps(group: Mapping[str, Any]) -> bool:
    return bool(group["machine"].get("data_disks"))


def _is_behind(group: Mapping[str, Any]) -> bool:
    return bool(group["machine"].get("target_groups"))


# Inline, in virtual time or in real time.


@dataclass(frozen=True, slots=True)
class InlineApp(App):
    """An App that does everything in the caller's thread, so that time may be virtual."""

    seed: int = 1

    def _runner(self, parallelism: int) -> Runner:
        del parallelism
        return InlineRunner()

    def _chance(self) -> Random:
        return Random(self.seed)


def write(directory: Path, document: Mapping[str, Any]) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "cluster.yml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


@contextmanager
def engine_of(
    app: App, path: Path, store: Store, listener: Callable[[Event], None] = lambda _: None, *, endless: bool = False
) -> Iterator[Engine]:
    """Open a cluster as a new process does, and make its engine."""
    (spec,) = app.load([path])
    with app.workbench(spec, store, allow_mass_destroy=True) as bench:
        yield bench.engine(listener, bench.cluster.groups, endless=endless)


def apply_inline(
    app: App,
    path: Path,
    store: Store,
    listener: Callable[[Event], None] = lambda _: None,
    *,
    poll_seconds: float = 1.0,
    timeout_seconds: float = 7200.0,
) -> Settlement:
    """Do what `infra apply` does."""
    (spec,) = app.load([path])
    with app.workbench(spec, store, allow_mass_destroy=True) as bench:
        engine = bench.engine(listener, bench.cluster.groups, poll_seconds=poll_seconds)
        return bench.converge(engine, timeout_seconds=timeout_seconds, stop=Flag())


# As processes.


@dataclass(frozen=True, slots=True)
class Order:
    """What a process is to do, and how it is unlike a good one.

    `dies_at`: the method of its store at whose `nth` call it is killed, `before` or `after` the work. `forgetful`: it
    makes up a new client token for each launch.
    """

    arguments: Sequence[str]
    directory: str
    environment: Mapping[str, str]
    output: str
    dies_at: str = ""
    nth: int = 1
    when: str = "before"
    forgetful: bool = False


@dataclass
class Forks:
    """The ancestor, and the one process that it has at a time."""

    process: "subprocess.Popen[str]"
    pid: int = 0

    def start(self, order: Order) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({name: getattr(order, name) for name in Order.__slots__}) + "\n")
        self.process.stdin.flush()
        self.pid = self._number()

    def end(self) -> int:
        """Wait for the process to end, and return its exit code: negative if it was killed."""
        return self._number()

    def run(self, order: Order) -> int:
        self.start(order)
        return self.end()

    def kill(self) -> None:
        """Kill the process, and return once it is no more."""
        pid = self.pid  # once it has ended, somebody else may start the next one
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while Path(f"/proc/{pid}").exists():  # its parent reaps it
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def _number(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())


@contextmanager
def forks() -> Iterator[Forks]:
    """Start an ancestor."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.aws.driving"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Forks(process)
        finally:
            process.kill()


def read_models_once() -> Callable[[object, str], Any]:
    """Return what loads botocore's models, each once in a process: they are most of the cost of a client."""
    from botocore.loaders import JSONFileLoader

    load = cache(JSONFileLoader().load_file)
    return lambda _, path: load(path)


def _fork_forever() -> None:
    """Read orders, and answer each with the process's id, and with its exit code when it has ended."""
    import boto3
    from botocore.loaders import JSONFileLoader

    for module in _FOR_ALL:
        importlib.import_module(module)
    setattr(JSONFileLoader, "load_file", read_models_once())  # noqa: B010  # a plain assignment has another type
    session = boto3.Session(aws_access_key_id="k", aws_secret_access_key="s", region_name="eu-central-1")
    session.client("ec2")
    session.client("elbv2")
    for line in sys.stdin:
        order = Order(**json.loads(line))
        pid = os.fork()
        if not pid:
            _obey(order)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n")
        sys.stdout.flush()


def _obey(order: Order) -> None:
    """Become `infra`."""
    code: object = 70
    try:
        from infrakit_py.cli import main

        os.chdir(order.directory)
        os.environ.clear()
        os.environ.update(order.environment)
        output = os.open(order.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for stream, descriptor in ((0, os.open(os.devnull, os.O_RDONLY)), (1, output), (2, output)):
            os.dup2(descriptor, stream)
        Workbench.engine.__kwdefaults__ = {**(Workbench.engine.__kwdefaults__ or {}), "poll_seconds": POLL_SECONDS}
        if order.dies_at:
            setattr(root, "SqliteStore", _doomed(order))  # noqa: B010  # it is nothing that `root` offers
        if order.forgetful:
            Ticket.client_token = lambda *_: uuid4().hex  # type: ignore[method-assign]
        sys.argv = ["infra", *order.arguments]
        main()
    except SystemExit as exc:
        code = exc.code
    finally:
        sys.stdout.flush()
        os._exit(code if isinstance(code, int) else 0)


def _doomed(order: Order) -> type[SqliteStore]:
    """Return a store that kills its process."""
    work: Callable[..., Any] = getattr(SqliteStore, order.dies_at)
    made: list[str] = []

    def write(self: SqliteStore, *arguments: Any) -> Any:
        if order.dies_at in ("record", "forget") and not arguments[0]:
            return work(self, *arguments)  # nothing is written
        made.append(order.dies_at)
        if len(made) == order.nth and order.when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = work(self, *arguments)
        if len(made) == order.nth and order.when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    return type("DoomedStore", (SqliteStore,), {order.dies_at: write})


if __name__ == "__main__":
    _fork_forever()
