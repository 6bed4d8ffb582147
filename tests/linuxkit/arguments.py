"""The command line of `linuxkit build`, read as cobra reads it. What is not known here is an error."""

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

FORMATS = (
    "aws", "docker", "dynamic-vhd", "gcp", "iso-bios", "iso-efi", "iso-efi-initrd", "kernel+erofs", "kernel+initrd",
    "kernel+iso", "kernel+squashfs", "qcow2-bios", "qcow2-efi", "raw-bios", "raw-efi", "rpi3", "tar",
    "tar-kernel-initrd", "vhd", "vmdk",
)  # fmt: skip
_SWITCHES = ("pull", "docker", "decompress-kernel", "no-sbom", "sbom-current-time", "dry-run")
_VALUES = ("name", "dir", "o", "size", "arch", "cache", "format", "sbom-output")


class CommandError(Exception):
    """The program ends with code 1, and this is why."""


@dataclass(frozen=True, slots=True)
class Options:
    """What `linuxkit build` was told."""

    files: tuple[str, ...] = ()
    name: str = ""
    directory: str = ""
    output: str = ""
    formats: tuple[str, ...] = ()
    size: str = "1024M"
    architecture: str = field(default_factory=lambda: {"aarch64": "arm64"}.get(platform.machine(), "amd64"))
    cache: str = field(default_factory=lambda: os.environ.get("LINUXKIT_CACHE", ""))
    sbom: str = "sbom.spdx.json"
    switches: frozenset[str] = frozenset()


def read_options(arguments: Sequence[str]) -> Options:
    """Return the options. CommandError for an unknown flag, one without its value, or no file at all."""
    options, files = Options(), []
    words = iter(arguments)
    for word in words:
        if word == "-" or not word.startswith("-"):
            files.append(word)
        elif (flag := _flag(word)) in _SWITCHES:
            options = replace(options, switches=options.switches | {flag})
        else:
            options = _with(options, flag, _value(word, flag, words))
    if not files:
        raise CommandError("requires at least 1 arg(s), only received 0")
    if not options.formats:
        options = replace(options, formats=("tar",) if options.output else ("kernel+initrd",))
    _check(options)
    return replace(options, files=tuple(files))


def _flag(word: str) -> str:
    """Return the name of a flag. As with cobra, only `--` goes before a long name."""
    name = word.lstrip("-").partition("=")[0]
    if word.startswith("--"):
        if name not in (*_SWITCHES, *_VALUES):
            raise CommandError(f"unknown flag: --{name}")
        return name
    if name[:1] == "f":
        return "format"
    raise CommandError(f"unknown shorthand flag: {name[:1]!r} in {word}")


def _value(word: str, flag: str, rest: Iterator[str]) -> str:
    if not word.startswith("--") and len(word) > 2:
        return word[2:].removeprefix("=")
    if "=" in word:
        return word.partition("=")[2]
    try:
        return next(rest)
    except StopIteration:
        raise CommandError(f"flag needs an argument: --{flag}") from None


def _with(options: Options, flag: str, value: str) -> Options:
    match flag:
        case "format":
            return replace(options, formats=(*options.formats, *value.split(",")))
        case "dir":
            return replace(options, directory=value)
        case "o":
            return replace(options, output=value)
        case "arch":
            return replace(options, architecture=value)
        case "sbom-output":
            return replace(options, sbom=value)
        case "name":
            return replace(options, name=value)
        case "size":
            return replace(options, size=value)
        case _:
            return replace(options, cache=value)


def _check(options: Options) -> None:
    for wanted in options.formats:
        if wanted not in FORMATS:
            raise CommandError(f"error parsing formats: unknown format type {wanted}")
    if len(options.formats) > 1 and "tar" in options.formats:
        raise CommandError("format type tar must be the only format specified")
    if options.output and (options.name or options.directory):
        raise CommandError(f"the -output option cannot be specified with -{'name' if options.name else 'dir'}")
    if options.output and options.formats != ("tar",):
        raise CommandError(f"the -output option cannot be specified for build type {options.formats[0]}")
    if options.architecture not in ("amd64", "arm64"):
        raise CommandError(f"unsupported architecture {options.architecture}")
