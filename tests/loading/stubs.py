"""A catalog of small plugins, so that loading is tested without any real one."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from infrakit_groups.flavors.vanilla import VanillaPlugin
from infrakit_py.errors import PluginError
from infrakit_py.model.quantities import parse_size
from infrakit_py.model.spec import Json
from infrakit_py.spi.complaint import Complaint
from infrakit_py.spi.provider import MachineReview, Provider, ProviderContext


def _size(written: Any) -> int:
    if not isinstance(written, str):
        raise ValueError("must be a size with its unit")
    return parse_size(written)


class StubSettings(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    uri: str = "stub:///"
    zones: list[str] = []


class StubNic(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    network: str
    speed: int = 1


class StubMachine(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    vcpus: int = Field(default=1, ge=1)
    memory: Annotated[int, BeforeValidator(_size)] = 2**26
    network: str = "default"
    nics: list[StubNic] = []
    data_disk: str | None = Field(default=None, alias="data-disk")


class StubProvider:
    """Does nothing; it dislikes 13 processors, and data disks on unnamed machines."""

    summary = "a stub"
    settings: type[BaseModel] = StubSettings
    machine: type[BaseModel] = StubMachine

    def review(self, review: MachineReview) -> Iterable[Complaint]:
        if review.machine.get("vcpus") == 13:
            yield Complaint(("vcpus",), "13 processors bring bad luck")
        if "data-disk" in review.machine and not review.named:
            yield Complaint(("data-disk",), "only a named machine has a data disk")

    def open(self, settings: Mapping[str, Json], context: ProviderContext) -> Provider:
        raise AssertionError("loading opens no provider")


class StubCatalog:
    """Knows the provider plugin `libvirt` (a stub), one that cannot be loaded, and the flavor `vanilla`."""

    def provider(self, name: str) -> StubProvider:
        if name == "libvirt":
            return StubProvider()
        if name == "aws":
            raise PluginError("provider plugin 'aws' cannot be loaded", hint="pip install 'infrakit-py[aws]'")
        raise PluginError(f"no provider plugin {name!r} is installed; installed are: aws, libvirt")

    def flavor(self, kind: str) -> Any:
        if kind != "vanilla":
            raise PluginError(f"no flavor plugin {kind!r} is installed; installed are: vanilla")
        return VanillaPlugin()

    def provider_names(self) -> tuple[str, ...]:
        return ("aws", "libvirt")

    def flavor_names(self) -> tuple[str, ...]:
        return ("vanilla",)
