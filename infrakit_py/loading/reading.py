"""Reads one document part by part, each as far as it makes sense by itself, so that one mistake hides no other."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from infrakit_py.errors import InfrakitError, PluginError
from infrakit_py.loading.catalog import ImageReader, PluginCatalog
from infrakit_py.loading.documents import ClusterDocument, FlavorEntry, GroupEntry, ImageEntry, ProviderEntry
from infrakit_py.loading.findings import Findings
from infrakit_py.loading.group_rules import group_faults, waiting_in_circles
from infrakit_py.loading.image_entries import ImageEntries
from infrakit_py.loading.references import mapping, refer
from infrakit_py.loading.rollout_rules import budget_faults
from infrakit_py.loading.yaml_documents import Document, Place
from infrakit_py.model.spec import Image, Json
from infrakit_py.spi.flavor import MemberIdentity
from infrakit_py.spi.provider import MachineReview, ProviderPlugin

_REVIEWED_MEMBERS: Final = 3
_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Configured:
    """A provider whose plugin is there. `settings` is None where they are wrong."""

    plugin: ProviderPlugin
    settings: Mapping[str, Json] | None


class Reading:
    """All that can be read of one document. It means something only while `findings` has no problems.

    Settings and machines are kept as written: what a plugin's model makes of them is the plugin's business, and
    another release's defaults must change no fingerprint. A flavor's options are kept as its model dumps them,
    because files may have been read for them.
    """

    def __init__(self, document: Document, directory: Path, catalog: PluginCatalog, read_image: ImageReader) -> None:
        self.findings = Findings(document)
        self.providers: dict[str, Configured] = {}
        self.images: dict[str, Image] = {}
        self.machines: dict[str, Mapping[str, Json]] = {}
        self.options: dict[str, Mapping[str, Json]] = {}
        self.document: ClusterDocument | None = None
        self._data: Any = document.data
        self._context = {"directory": directory}
        self._catalog = catalog
        self._entries = ImageEntries(self.findings, directory, read_image)

    def read(self) -> None:
        """Read everything. Image files are hashed; nothing else is touched."""
        if not isinstance(self._data, dict):
            self.findings.at_value((), "a cluster is a mapping with apiVersion, kind, metadata, providers and groups")
            return
        try:
            self.document = ClusterDocument.model_validate(self._data)
        except ValidationError as exc:
            self.findings.invalid((), exc, ClusterDocument)
        for name, provider in mapping(self._data, "providers").items():
            self._provider(name, provider)
        for name, image in mapping(self._data, "images").items():
            self._image(name, image)
        for name, group in mapping(self._data, "groups").items():
            if isinstance(group, dict):
                self._group(name, group)
        self._circles()
        for fault in budget_faults(self.document) if self.document else ():
            self.findings.at_value(fault.place, fault.message)

    def _valid(
        self, model: type[BaseModel], written: Mapping[str, Any], place: Place, ours: Iterable[str] = ()
    ) -> BaseModel | None:
        """Check a plugin's mapping by the plugin's model. `ours` are keys of the same mapping that we look at."""
        try:
            return model.model_validate(written, context=self._context)
        except ValidationError as exc:
            self.findings.invalid(place, exc, model, also_known=tuple(ours))
            return None

    def _provider(self, name: str, data: Any) -> None:
        plugin_name = mapping(data).get("plugin")
        if not isinstance(plugin_name, str):
            return
        place = ("providers", name)
        try:
            plugin = self._catalog.provider(plugin_name)
        except PluginError as exc:
            self.findings.at_value((*place, "plugin"), _told(exc))
            return
        settings = {key: value for key, value in data.items() if key not in ProviderEntry.model_fields}
        valid = self._valid(plugin.settings, settings, place, ProviderEntry.model_fields)
        self.providers[name] = Configured(plugin, None if valid is None else settings)

    def _image(self, name: str, data: Any) -> None:
        if not isinstance(data, dict):
            return
        kind = self._entries.faults(name, data)
        entry, wrong = _salvaged(ImageEntry, data, {})
        if kind is not None and not wrong:
            image = self._entries.read(name, kind, entry)
            if image is not None:
                self.images[name] = image

    def _group(self, name: str, data: dict[str, Any]) -> None:
        place = ("groups", name)
        declared = {key: mapping(self._data, key) for key in ("providers", "images", "groups")}
        refer(self.findings, (*place, "provider"), data.get("provider"), declared["providers"], "provider")
        refer(self.findings, (*place, "image"), data.get("image"), declared["images"], "image")
        depends_on = data.get("depends_on")
        for index, other in enumerate(depends_on if isinstance(depends_on, list) else ()):
            refer(self.findings, (*place, "depends_on", index), other, declared["groups"], "group")
        entry, wrong = _salvaged(GroupEntry, data, {"provider": "", "image": ""})
        for fault in group_faults(entry, data, wrong):
            (self.findings.at_value if fault.place else self.findings.at_key)((*place, *fault.place), fault.message)
        self._machine(name, data, entry)
        if "flavor" not in data or isinstance(data["flavor"], dict):
            self._flavor(name, mapping(data, "flavor"), entry)

    def _machine(self, name: str, data: Mapping[str, Any], entry: GroupEntry) -> None:
        provider = self.providers.get(entry.provider)
        machine = data.get("machine", {})
        if provider is None or not isinstance(machine, dict):
            return
        place = ("groups", name, "machine")
        if self._valid(provider.plugin.machine, machine, place) is None:
            return
        self.machines[name] = machine
        if provider.settings is not None:
            image = self.images.get(entry.image)
            review = MachineReview(provider.settings, machine, image, named="logical_ids" in data)
            self.findings.complain(place, provider.plugin.review(review))

    def _flavor(self, name: str, data: Mapping[str, Any], entry: GroupEntry) -> None:
        kind = data.get("kind", entry.flavor.kind)
        if not isinstance(kind, str):
            return
        place = ("groups", name, "flavor")
        try:
            plugin = self._catalog.flavor(kind)
        except PluginError as exc:
            self.findings.at_value((*place, "kind"), _told(exc))
            return
        written = {key: value for key, value in data.items() if key not in FlavorEntry.model_fields}
        valid = self._valid(plugin.options, written, place, FlavorEntry.model_fields)
        if valid is None:
            return
        options = self.options[name] = valid.model_dump(mode="json", exclude_unset=True, by_alias=True)
        cluster = str(mapping(self._data, "metadata").get("name", "cluster"))
        flavor = plugin.open(options, cluster=cluster, group=name)
        self.findings.complain(place, flavor.review(_members(cluster, name, entry)))

    def _circles(self) -> None:
        groups = mapping(self._data, "groups")
        waits_for: dict[str, list[str]] = {}
        for name, group in groups.items():
            others = mapping(group).get("depends_on")
            waits_for[name] = (
                [other for other in others if isinstance(other, str)] if isinstance(others, list) else []
            )
        for name, other, circle in waiting_in_circles(waits_for):
            place = ("groups", name, "depends_on", groups[name]["depends_on"].index(other))
            itself = name == other
            message = "a group cannot wait for itself" if itself else f"these groups wait for one another: {circle}"
            self.findings.at_value(place, message)


def _members(cluster: str, group: str, entry: GroupEntry) -> Iterator[MemberIdentity]:
    if entry.logical_ids is not None:
        for index, logical_id in enumerate(entry.logical_ids):
            yield MemberIdentity(cluster, group, len(entry.logical_ids), logical_id, logical_id, index)
        return
    size = entry.size or 0
    for index in range(max(1, min(size, _REVIEWED_MEMBERS))):
        yield MemberIdentity(cluster, group, size, f"{group}-{index}", None, index)


def _salvaged(
    model: type[_Model], data: Mapping[str, Any], required: Mapping[str, Any]
) -> tuple[_Model, frozenset[str]]:
    """Return the model of those keys whose values are right, and the keys whose values are wrong.

    `required` holds what stands in for keys that are required, and missing or wrong.
    """
    try:
        return model.model_validate({**required, **data}), frozenset()
    except ValidationError as exc:
        wrong = frozenset(str(details["loc"][0]) for details in exc.errors())
    right = {key: value for key, value in data.items() if key not in wrong}
    return model.model_validate({**required, **right}), wrong


def _told(error: InfrakitError) -> str:
    return f"{error} ({error.hint})" if error.hint else str(error)
