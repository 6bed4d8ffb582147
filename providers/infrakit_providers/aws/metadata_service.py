"""Which version of EC2's metadata service an image's machines need.

LinuxKit's metadata package speaks the first version alone, and gets all that a machine is told from there: its name,
its keys, its user data. Source: linuxkit/linuxkit, pkg/metadata/provider_aws.go, which asks without a session token.
"""

from collections.abc import Iterator
from typing import Final

from infrakit_providers.aws.machine import Machine
from infrakit_py.model.spec import Image, ImageForm

_ALLOWED: Final = (
    "metadata service v1 is allowed (HttpTokens=optional): LinuxKit's metadata package cannot use v2; "
    "metadata: {tokens: required} forbids it"
)
_FORBIDDEN: Final = (
    "metadata service v1 is forbidden (tokens: required): LinuxKit's metadata package cannot use v2, so its machines "
    "get no user data"
)


def fitted(machine: Machine, image: Image) -> Machine:
    """Return the machine as it boots that image: LinuxKit's may use v1, unless the user wrote which one. Pure."""
    if image.form is not ImageForm.KERNEL or _says_which(machine):
        return machine
    metadata = machine.metadata.model_copy(update={"tokens": "optional"})
    return machine.model_copy(update={"metadata": metadata})


def remarks(machine: Machine, image: Image) -> Iterator[str]:
    """Say what `fitted` does, or what the user's own choice does, where it is of consequence."""
    if image.form is not ImageForm.KERNEL or not machine.metadata.endpoint:
        return
    if not _says_which(machine):
        yield _ALLOWED
    elif machine.metadata.tokens == "required":
        yield _FORBIDDEN


def _says_which(machine: Machine) -> bool:
    return "tokens" in machine.metadata.model_fields_set
