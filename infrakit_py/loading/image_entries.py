"""Reads one entry of `images:`. What goes into a build is read and hashed here; nothing is built."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from infrakit_py.errors import InfrakitError, SpecError
from infrakit_py.loading.catalog import Complaining, ImageReader
from infrakit_py.loading.documents import ImageEntry
from infrakit_py.loading.findings import Findings
from infrakit_py.loading.linuxkit_document import LinuxKitDocument, read_linuxkit
from infrakit_py.loading.yaml_documents import Place
from infrakit_py.model.recipes import recipe_key, unbuilt_identity
from infrakit_py.model.spec import Image, ImageForm, Recipe, Signed

_LINUXKIT: Final = "linuxkit"
_FORMS: Final[Mapping[str, tuple[ImageForm, tuple[str, ...]]]] = {
    _LINUXKIT: (ImageForm.KERNEL, (_LINUXKIT,)),
    "kernel": (ImageForm.KERNEL, ("kernel", "initrd", "cmdline")),
    "disk": (ImageForm.DISK, ("disk",)),
    "reference": (ImageForm.REFERENCE, ("reference",)),
}
"""What an image may be made of: its form, and the keys that it needs."""
_WANTED: Final = "an image is either linuxkit, or kernel + initrd + cmdline, or disk, or reference"
_KERNEL_FORMATS: Final = {"": "", "kernel+initrd": "", "raw": "raw", "qcow2": "qcow2", "aws": "raw"}
_DISK_FORMATS: Final = {"raw": "raw", "aws": "raw", "qcow2": "qcow2", "iso": "iso", "gcp": "gcp"}
_SUFFIXES: Final = {".qcow2": "qcow2", ".iso": "iso", ".tar.gz": "gcp", ".tgz": "gcp"}
_BUILDING: Final = ("build_args", "build_timeout", "sbom")


def image_keys(data: Mapping[str, Any]) -> str | None:
    """Return which kind of image a mapping declares; None where it is none, or several."""
    kinds = [kind for kind, (_, keys) in _FORMS.items() if any(key in data for key in keys)]
    return kinds[0] if len(kinds) == 1 else None


class ImageEntries:
    """Reads entries of one document, relative to its directory."""

    def __init__(self, findings: Findings, directory: Path, read_image: ImageReader) -> None:
        self._findings = findings
        self._directory = directory
        self._read_image = read_image

    def faults(self, name: str, data: Mapping[str, Any]) -> str | None:
        """Note what is wrong with the keys of an entry. Return its kind if it can be read on, as far as keys go."""
        place = ("images", name)
        kind = image_keys(data)
        if kind is None:
            several = any(key in data for _, keys in _FORMS.values() for key in keys)
            self._findings.at_key(place, _WANTED if several else f"{_WANTED}; it is none of them")
            return None
        form, keys = _FORMS[kind]
        missing = [key for key in keys if key not in data]
        for key in missing:
            self._findings.missing(place, key)
        before = len(self._findings.problems)
        self._misplaced(place, data, kind, form)
        return kind if not missing and len(self._findings.problems) == before else None

    def read(self, name: str, kind: str, entry: ImageEntry) -> Image | None:
        """Return the image that an entry declares; None where something is wrong with it, which is noted."""
        try:
            image = self._recipe(name, entry) if kind == _LINUXKIT else self._files(name, kind, entry)
        except (
            SpecError
        ) as exc:  # of the LinuxKit YAML; one that cannot be read at all is named where this file names it
            for problem in exc.problems:
                if problem.line:
                    self._findings.problems.append(problem)
                else:
                    self._findings.at_value(("images", name, _LINUXKIT), f"{problem.file} {problem.message}")
            return None
        except InfrakitError as exc:
            if isinstance(exc, Complaining):
                self._findings.complain(("images", name), exc.complaints)
            else:
                self._findings.at_key(("images", name), f"{exc} ({exc.hint})" if exc.hint else str(exc))
            return None
        image = replace(image, architecture=entry.arch.name_in_linuxkit, disk_size=entry.size or 0)
        if image.form is ImageForm.KERNEL:
            image = replace(image, as_disk=_KERNEL_FORMATS[entry.format or ""])
        return image

    def _misplaced(self, place: Place, data: Mapping[str, Any], kind: str, form: ImageForm) -> None:
        """Note keys and formats that mean nothing for this kind of image."""
        for key in _BUILDING:
            if key in data and kind != _LINUXKIT:
                self._findings.at_key((*place, key), f"{key} is for images that are built from a LinuxKit YAML")
        if "size" in data and form is not ImageForm.KERNEL:
            self._findings.at_key((*place, "size"), "only disks that are made of a kernel have a size to choose")
        if form is ImageForm.REFERENCE:
            for key in ("verify", "signature"):
                if key in data:
                    self._findings.at_key((*place, key), "what the provider already has cannot be checked here")
        if "signature" in data and "verify" not in data:
            self._findings.at_key((*place, "signature"), "a signature is of no use without `verify`, the public key")
        allowed = {ImageForm.KERNEL: _KERNEL_FORMATS, ImageForm.DISK: _DISK_FORMATS, ImageForm.REFERENCE: {}}[form]
        if (written := data.get("format")) in {*_KERNEL_FORMATS, *_DISK_FORMATS} - {""} and written not in allowed:
            choices = ", ".join(filter(None, allowed))
            message = f"must be one of {choices} for such an image" if choices else "a reference has no format"
            self._findings.at_value((*place, "format"), message)

    def _files(self, name: str, kind: str, entry: ImageEntry) -> Image:
        form, keys = _FORMS[kind]
        files = {} if form is ImageForm.REFERENCE else {part: getattr(entry, part) for part in keys}
        paths = {part: self._directory / file for part, file in files.items()}
        first = next(iter(paths.values()), self._directory)
        return self._read_image(
            name,
            form,
            paths,
            reference=entry.reference or "",
            disk_format=_disk_format(entry),
            signed=self._signed(entry, first),
        )

    def _recipe(self, name: str, entry: ImageEntry) -> Image:
        file = self._directory / (entry.linuxkit or "")
        document = read_linuxkit(file)
        architecture = entry.arch.name_in_linuxkit
        recipe = Recipe(
            file=document.file,
            key=_key(document, architecture, entry.build_args),
            content=document.data,
            sources=_digests(document),
            watched=tuple(source.path for source in document.sources),
            unpinned=document.unpinned,
            build_args=tuple(entry.build_args),
            sbom=entry.sbom,
            time_limit_seconds=entry.build_timeout,
            signed=self._signed(entry, file),
        )
        return Image(name, unbuilt_identity(recipe.key), ImageForm.KERNEL, recipe=recipe)

    def _signed(self, entry: ImageEntry, first: Path) -> Signed | None:
        if entry.verify is None:
            return None
        signature = self._directory / entry.signature if entry.signature else first.with_name(f"{first.name}.sig")
        return Signed(str(self._directory / entry.verify), str(signature))


def is_as_read(image: Image) -> bool:
    """Tell whether what an image is built from is what it was when it was read. SpecError for mistakes in it."""
    recipe = image.recipe
    return (
        recipe is None or _key(read_linuxkit(Path(recipe.file)), image.architecture, recipe.build_args) == recipe.key
    )


def _key(document: LinuxKitDocument, architecture: str, build_args: Sequence[str]) -> str:
    return recipe_key(
        document.data, sources=_digests(document), architecture=architecture, build_args=tuple(build_args)
    )


def _digests(document: LinuxKitDocument) -> Mapping[str, str]:
    return {source.name: source.sha256 for source in document.sources}


def _disk_format(entry: ImageEntry) -> str:
    if entry.format is not None:
        return _DISK_FORMATS.get(entry.format, "raw")
    name = entry.disk or ""
    return next((form for suffix, form in _SUFFIXES.items() if name.endswith(suffix)), "raw")
