"""The types of an image's values in the YAML."""

import re
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from infrakit_py.loading.fields import Word
from infrakit_py.model.quantities import parse_size

_SIZE_SCHEMA: Final = {
    "type": "string",
    "pattern": r"^\d+(\.\d+)?(B|[KMGT]i?B)$",
    "examples": ["512MiB", "2GiB"],
}
_OURS: Final = {
    "--name": "the image's name is ours to choose",
    "--dir": "where the files go is ours to choose",
    "--o": "where the files go is ours to choose",
    "-o": "where the files go is ours to choose",
    "--format": "write `format:` instead",
    "-f": "write `format:` instead",
    "-format": "write `format:` instead",
    "--arch": "write `arch:` instead",
    "--size": "write `size:` instead",
    "--no-sbom": "it is always given, so that the same YAML gives the same bytes",
    "--sbom-output": "write `sbom: true` instead",
    "--sbom-current-time": "write `sbom: true` instead",
    "--dry-run": "nothing would be built",
}
"""Arguments that infra gives itself, and why nobody else may."""
_WITHOUT_VALUE: Final = frozenset({"--pull", "--docker", "--decompress-kernel"})


class Architecture(StrEnum):
    """As Go and LinuxKit call it, and as Linux does."""

    AMD64 = "amd64"
    ARM64 = "arm64"
    X86_64 = "x86_64"
    AARCH64 = "aarch64"

    @property
    def name_in_linuxkit(self) -> str:
        return {"x86_64": "amd64", "aarch64": "arm64"}.get(self.value, self.value)


def _byte_size(written: Any) -> int:
    if not isinstance(written, str):
        raise ValueError("must be a size with its unit, such as 512MiB or 2GiB")
    size = parse_size(written)
    if size <= 0:
        raise ValueError("must be more than nothing")
    return size


def _build_argument(word: str) -> str:
    flag = word.split("=")[0]
    if re.match(r"-[of].", flag):  # short flags take their value in the same word
        flag = flag[:2]
    if (reason := _OURS.get(flag)) is not None:
        raise ValueError(f"must not hold {flag}: {reason}")
    return word


def _flags(words: list[str]) -> list[str]:
    """Refuse what LinuxKit would take for another file: nobody would look at what is in it."""
    for before, word in zip(["", *words], words, strict=False):
        is_value = before.startswith("-") and "=" not in before and before not in _WITHOUT_VALUE
        if word == "-" or (not word.startswith("-") and not is_value):
            raise ValueError(f"must hold flags only: {word!r} would be another file to build from")
    return words


ImageFormat: TypeAlias = Literal["kernel+initrd", "raw", "qcow2", "iso", "aws", "gcp"]
ByteSize: TypeAlias = Annotated[int, BeforeValidator(_byte_size), WithJsonSchema(_SIZE_SCHEMA)]
BuildArguments: TypeAlias = Annotated[list[Annotated[Word, AfterValidator(_build_argument)]], AfterValidator(_flags)]
