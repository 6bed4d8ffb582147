"""A provider whose machines are entries of a JSON file: about the least that keeps the contract."""

# ruff: noqa: ARG002 - a provider takes what the contract gives it, needed or not

import fcntl
import json
import os
from contextlib import contextmanager

from pydantic import BaseModel

from infrakit_py.errors import ImageMissing, NotOurs, ProviderError
from infrakit_py.model.instance import Instance, InstanceState
from infrakit_py.model.spec import ImageForm
from infrakit_py.model.tags import CLUSTER, GROUP, owned_by
from infrakit_py.spi.provider import CallLimits, Outcome


class Settings(BaseModel, extra="forbid"):
    path: str = "machines.json"


class Machine(BaseModel, extra="forbid"):
    size: str = "small"


class FileProvider:
    limits = CallLimits(provision_batch=100, destroy_batch=100, tag_batch=100)
    listing_lag_seconds = 0.0

    def __init__(self, path, clock):
        self.path, self.clock = path, clock

    def describe(self, cluster):
        return [one for one in self._instances().values() if owned_by(one.tags, cluster)]

    def lookup(self, instance_ids):
        there = self._instances()
        return {id_: there.get(id_) for id_ in instance_ids}

    def provision(self, requests):
        def boot(machines, request):
            if not self.published([request.image]):
                raise ImageMissing(f"{request.name}: image {request.image.name} is not a reference")
            new = {"tags": dict(request.tags), "since": self.clock.now()}
            machines.setdefault(request.token, new)  # the token is the id, so it cannot stand for two
            return request.token

        return self._each(boot, requests)

    def destroy(self, requests):
        def destroy(machines, request):
            if request.instance_id in machines:  # gone already is a success
                _insist(machines, request, {CLUSTER: request.cluster, GROUP: request.group})
                del machines[request.instance_id]
            return request.instance_id

        return self._each(destroy, requests)

    def tag(self, requests):
        def tag(machines, request):
            machine = _insist(machines, request, {CLUSTER: request.cluster})
            kept = {key: value for key, value in machine["tags"].items() if key not in request.remove_tags}
            machine["tags"] = {**kept, **request.set_tags}
            return request.instance_id

        return self._each(tag, requests)

    def published(self, images):
        return frozenset(image.identity for image in images if image.form is ImageForm.REFERENCE)

    def publish(self, image, progress):
        if not self.published([image]):
            raise ProviderError(f"image {image.name}: these machines boot references only")

    def leftovers(self, cluster):
        return []

    def sweep(self, cluster, leftovers):
        return [Outcome() for _ in leftovers]

    def watch(self, wake): ...

    def close(self): ...

    def _instances(self):
        with self._explained():
            found = self._load().items()
        return {id_: Instance(id_, one["tags"], InstanceState.RUNNING, one["since"]) for id_, one in found}

    def _each(self, act, requests):
        with self._explained(), open(self.path.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # against other threads and processes; it ends with ours
            machines = self._load()
            outcomes = [_outcome(act, machines, request) for request in requests]
            draft = self.path.with_suffix(".draft")
            draft.write_text(json.dumps(machines))
            os.replace(draft, self.path)  # all of it or nothing, whenever the process is killed
        return outcomes

    def _load(self):
        return json.loads(self.path.read_text()) if self.path.exists() else {}

    @contextmanager
    def _explained(self):
        try:
            yield
        except OSError as exc:  # only ProviderErrors may leave a provider
            raise ProviderError(f"machines in {self.path}: {exc}") from exc


def _outcome(act, machines, request):
    try:
        return Outcome(act(machines, request))
    except ProviderError as error:  # of this request alone
        return Outcome(error=error)


def _insist(machines, request, owner):
    if request.instance_id not in machines:
        raise ProviderError(f"no machine {request.instance_id}")
    machine = machines[request.instance_id]
    if any(machine["tags"].get(key) != value for key, value in owner.items()):
        raise NotOurs(f"machine {request.instance_id} does not carry {owner}")
    return machine


class FilePlugin:
    summary = "machines that are entries of a file"
    settings = Settings
    machine = Machine

    def review(self, review):
        return []

    def open(self, settings, context):
        return FileProvider(context.directory / Settings(**settings).path, context.clock)


plugin = FilePlugin()
