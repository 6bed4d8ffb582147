"""A provider whose machines are files in a directory: about the least that keeps the contract."""

import json
import os
from contextlib import suppress
from tempfile import NamedTemporaryFile

from pydantic import create_model

from infrakit_py.errors import ImageMissing, ProviderError
from infrakit_py.model.instance import Instance, InstanceState
from infrakit_py.model.tags import owned_by
from infrakit_py.spi.batches import each, insist_ours
from infrakit_py.spi.provider import Provider, ProviderPlugin

Settings = create_model("Settings", __config__={"extra": "forbid"}, directory=(str, "machines"))
Machine = create_model("Machine", __config__={"extra": "forbid"}, size=(str, "small"))


class FileProvider(Provider):
    def __init__(self, directory, clock):
        self.directory, self.clock = directory, clock
        directory.mkdir(exist_ok=True)

    def describe(self, cluster):
        found = [self._look(path.name) for path in self.directory.glob("[!.]*")]
        return [one for one in found if one and owned_by(one.tags, cluster)]

    def lookup(self, instance_ids):
        return {id_: self._look(id_) for id_ in instance_ids}

    def provision(self, requests):
        def boot(request):  # the token is the file's name, so it cannot stand for two
            if not self.published([request.image]):
                raise ImageMissing(f"{request.name}: image {request.image.name} is not a reference")
            with suppress(FileExistsError):
                self._write(request.token, request.tags, self.clock.now(), os.link)
            return request.token

        return each(requests, boot)

    def destroy(self, requests):
        def destroy(request):  # gone already is a success
            if one := self._look(request.instance_id):
                insist_ours(one.id, one.tags, request.cluster, request.group)
                (self.directory / one.id).unlink(missing_ok=True)

        return each(requests, destroy)

    def tag(self, requests):
        def tag(request):
            if (one := self._look(request.instance_id)) is None:
                raise ProviderError(f"no machine {request.instance_id}")
            insist_ours(one.id, one.tags, request.cluster, request.group)
            tags = {k: v for k, v in {**one.tags, **request.set_tags}.items() if k not in request.remove_tags}
            self._write(one.id, tags, one.launched_at, os.replace)

        return each(requests, tag)

    def _look(self, id_):
        with suppress(FileNotFoundError):
            one = json.loads((self.directory / id_).read_text())
            return Instance(id_, one["tags"], InstanceState.RUNNING, one["since"])

    def _write(self, id_, tags, since, put):
        with suppress(FileNotFoundError), NamedTemporaryFile("w", dir=self.directory, prefix=".") as draft:
            json.dump({"tags": dict(tags), "since": since}, draft)
            draft.flush()
            put(draft.name, self.directory / id_)  # all of it or nothing, whenever the process is killed


class FilePlugin(ProviderPlugin):
    summary, settings, machine = "machines that are files", Settings, Machine

    def open(self, settings, context):
        return FileProvider(context.directory / Settings(**settings).directory, context.clock)


plugin = FilePlugin()
