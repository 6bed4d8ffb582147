"""The JSON Schema of a cluster's document, for editors: ours and that of every installed plugin in one.

It is as strict as a schema can be without refusing what `load` accepts.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from infrakit_py.errors import PluginError
from infrakit_py.loading.catalog import PluginCatalog
from infrakit_py.loading.controller_file import ControllerDocument
from infrakit_py.loading.documents import ClusterDocument, FlavorEntry
from infrakit_py.model.spec import FlavorSpec

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_VARIABLE: Final = "Variable"
_NAMED_SCHEMAS: Final = ("properties", "patternProperties", "$defs")
_LISTED_SCHEMAS: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE_SCHEMAS: Final = ("items", "additionalProperties")
_ABOUT: Final = ("description", "default", "examples")


def schema(catalog: PluginCatalog) -> dict[str, Any]:
    """Return the schema. A plugin that cannot be loaded is known by its name, and may have any settings."""
    document = ClusterDocument.model_json_schema()
    definitions: dict[str, Any] = document.pop("$defs")
    providers, machines = _providers(catalog, definitions)
    definitions["ProviderEntry"] = {"oneOf": providers}
    definitions["GroupEntry"]["properties"]["machine"] = {"anyOf": machines} if machines else {"type": "object"}
    definitions["FlavorEntry"] = {"oneOf": _flavors(catalog, definitions)}
    for part in ("providers", "images", "groups"):
        document["properties"][part]["additionalProperties"] = False
    return _whole("infrakit-py cluster", document, definitions)


def controller_schema() -> dict[str, Any]:
    """Return the schema of a controller's configuration."""
    document = ControllerDocument.model_json_schema()
    return _whole("infrakit-py controller", document, document.pop("$defs"))


def _whole(title: str, document: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    whole = _tidied({**document, "$defs": definitions})
    whole["$defs"][_VARIABLE] = {"type": "string", "pattern": r"\$\{env:", "description": "${env:NAME:-default}"}
    return {"$schema": _DRAFT, "title": title, **whole}


def _providers(catalog: PluginCatalog, definitions: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """Return the schemas of provider entries and of machines."""
    entries: list[Any] = []
    machines: list[Any] = []
    for name in catalog.provider_names():
        try:
            plugin = catalog.provider(name)
        except PluginError:
            settings: dict[str, Any] = {"type": "object"}
            machine = {"type": "object", "description": f"a machine of {name}, whose plugin cannot be loaded"}
        else:
            settings = _of_plugin(plugin.settings, f"{name}.settings", definitions)
            machine = _of_plugin(plugin.machine, f"{name}.machine", definitions)
        entries.append(_chosen_by(settings, {"plugin": {"const": name}}, ["plugin"]))
        if machine not in machines:
            machines.append(machine)
    return entries, machines


def _flavors(catalog: PluginCatalog, definitions: dict[str, Any]) -> list[Any]:
    tags = definitions["FlavorEntry"]["properties"]["tags"]
    entries: list[Any] = []
    for name in catalog.flavor_names():
        try:
            options = _of_plugin(catalog.flavor(name).options, f"{name}.options", definitions)
        except PluginError:
            options = {"type": "object"}
        required = [] if name == FlavorSpec().kind else ["kind"]
        entries.append(_chosen_by(options, {"kind": {"const": name}, "tags": tags}, required))
    return entries or [FlavorEntry.model_json_schema()]


def _of_plugin(model: type[BaseModel], prefix: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return a plugin's schema; what it refers to is moved to our definitions, under names of its own."""
    own = model.model_json_schema(ref_template=f"#/$defs/{prefix}.{{model}}")
    moved = {f"{prefix}.{name}": definition for name, definition in own.pop("$defs", {}).items()}
    definitions.update(moved)
    reference = own.get("$ref", "").removeprefix("#/$defs/")
    return dict(moved.get(reference, own))


def _chosen_by(part: Mapping[str, Any], ours: Mapping[str, Any], required: list[str]) -> dict[str, Any]:
    properties = {**ours, **part.get("properties", {})}
    return {**part, "properties": properties, "required": [*required, *part.get("required", [])]}


def _tidied(node: dict[str, Any]) -> dict[str, Any]:
    """Drop the titles and empty defaults that pydantic makes up, and allow a variable wherever a value has a form."""
    tidy = {key: value for key, value in node.items() if key != "title"}
    if tidy.get("default", "") is None or isinstance(tidy.get("default"), dict):
        del tidy["default"]
    for key in _NAMED_SCHEMAS:
        if key in tidy:
            tidy[key] = {name: _tidied(inner) for name, inner in tidy[key].items()}
    for key in _LISTED_SCHEMAS:
        if key in tidy:
            tidy[key] = [_tidied(inner) for inner in tidy[key]]
    for key in _SINGLE_SCHEMAS:
        if isinstance(tidy.get(key), dict):
            tidy[key] = _tidied(tidy[key])
    return _or_variable(tidy) if _has_form(tidy) else tidy


def _has_form(node: Mapping[str, Any]) -> bool:
    kind = node.get("type")
    return kind in ("integer", "number", "boolean") or (kind == "string" and ("pattern" in node or "enum" in node))


def _or_variable(node: Mapping[str, Any]) -> dict[str, Any]:
    about = {key: node[key] for key in _ABOUT if key in node}
    form = {key: value for key, value in node.items() if key not in _ABOUT}
    return {"anyOf": [form, {"$ref": f"#/$defs/{_VARIABLE}"}], **about}
