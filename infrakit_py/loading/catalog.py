"""What loading needs from others: the plugins, and somebody who reads image files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from infrakit_py.model.spec import Image, ImageForm, Signed
from infrakit_py.spi.complaint import Complaint
from infrakit_py.spi.flavor import FlavorPlugin
from infrakit_py.spi.provider import ProviderPlugin


class PluginCatalog(Protocol):
    """Finds plugins by name. PluginError, with a suggestion, for one that is not there or cannot be used."""

    def provider(self, name: str) -> ProviderPlugin: ...

    def flavor(self, kind: str) -> FlavorPlugin: ...

    def provider_names(self) -> Sequence[str]: ...

    def flavor_names(self) -> Sequence[str]: ...


class ImageReader(Protocol):
    """Reads an image's files. An InfrakitError that is also `Complaining` says which of them are wrong."""

    def __call__(
        self,
        name: str,
        form: ImageForm,
        paths: Mapping[str, Path],
        *,
        reference: str = "",
        disk_format: str = "raw",
        signed: Signed | None = None,
    ) -> Image: ...


@runtime_checkable
class Complaining(Protocol):
    """An error that knows which parts of the user's mapping it is about."""

    complaints: Sequence[Complaint]
