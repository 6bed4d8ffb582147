"""The lists of `infra image ls`: what is declared, what was built here, what is published."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from infrakit_py.cli.asking import asked
from infrakit_py.errors import ProviderError
from infrakit_py.model.quantities import format_size
from infrakit_py.model.spec import ClusterSpec, Image, ImageForm, Json
from infrakit_py.render.words import SHORT
from infrakit_py.spi.images import IDENTITY_DIGITS, Publication

if TYPE_CHECKING:
    from infrakit_py.app import App


class Row(NamedTuple):
    """One image, for people and for programs."""

    cells: Sequence[str]
    fields: Mapping[str, Json]


Listing = tuple[Sequence[str], Sequence[Row]]


def declared_rows(app: "App", specs: Sequence[ClusterSpec]) -> Listing:
    """List the images of files; the providers whose groups boot them are asked where they are."""
    rows = [_declared(app, spec, image) for spec in specs for image in spec.images.values()]
    return ("CLUSTER", "IMAGE", "IDENTITY", "FORM", "SIZE", "PUBLISHED", "FROM"), rows


def cached_rows(app: "App") -> Listing:
    """List the builds of this machine, the latest first."""
    builds = sorted(app.builds.all(), key=lambda build: build.built_at, reverse=True)
    rows = []
    for build in builds:
        size = sum(int(str(told["size"])) for told in build.files.values())
        there = app.builds.image(build) is not None
        fields: dict[str, Json] = {
            "image": build.name,
            "identity": build.identity,
            "architecture": build.architecture,
            "size": size,
            "built_at": _iso(build.built_at),
            "linuxkit": build.version,
            "from": build.file,
            "there": there,
        }
        cells = (
            build.name,
            build.identity[:SHORT],
            build.architecture,
            format_size(size) if there else "gone",
            _when(build.built_at),
            build.version,
            build.file,
        )
        rows.append(Row(cells, fields))
    return ("IMAGE", "IDENTITY", "ARCH", "SIZE", "BUILT", "LINUXKIT", "FROM"), rows


def published_rows(app: "App", specs: Sequence[ClusterSpec]) -> Listing:
    """List what providers have that was published by infra, by whichever cluster."""
    rows = []
    names = {image.identity[:IDENTITY_DIGITS]: image.name for spec in specs for image in spec.images.values()}
    for spec in specs:
        for provider in spec.providers:
            for found in asked(app, spec, provider, lambda opened: opened.publications()):
                rows.append(_published(provider, found, names))
    return ("PROVIDER", "IMAGE", "IDENTITY", "SIZE", "PUBLISHED", "STATE", "ID"), rows


def _declared(app: "App", spec: ClusterSpec, image: Image) -> Row:
    users = {group.provider for group in spec.groups.values() if group.image == image.name}
    places = {provider: _is_published(app, spec, provider, image) for provider in sorted(users)}
    built = image.is_built
    source = image.recipe.file if image.recipe is not None else image.reference or _first(image)
    words = {True: "", False: ": no", None: ": cannot be asked"}
    where = ", ".join(f"{provider}{words[there]}" for provider, there in places.items())
    size = image.size if built and image.form is not ImageForm.REFERENCE else None
    cells = (
        spec.name,
        image.name,
        image.short if built else "not built",
        "linuxkit" if image.recipe is not None else image.form.value,
        format_size(size) if size is not None else "-",
        where or "-",
        source,
    )
    fields: dict[str, Json] = {
        "cluster": spec.name,
        "image": image.name,
        "identity": image.identity if built else None,
        "form": image.form.value,
        "built": built,
        "size": size,
        "architecture": image.architecture,
        "published": dict(places),
        "from": source,
        "unpinned": list(image.recipe.unpinned) if image.recipe is not None else [],
    }
    return Row(cells, fields)


def _is_published(app: "App", spec: ClusterSpec, provider: str, image: Image) -> bool | None:
    """Tell whether a provider has an image; None where it cannot be asked."""
    try:
        return image.is_built and image.identity in asked(
            app, spec, provider, lambda opened: opened.published([image])
        )
    except ProviderError:
        return None


def _published(provider: str, found: Publication, names: Mapping[str, str]) -> Row:
    state = "in use" if found.in_use else "unused"
    if not found.complete:
        state = "incomplete"
    cells = (
        provider,
        names.get(found.identity[:IDENTITY_DIGITS], found.name),
        found.identity[:SHORT],
        format_size(found.size) if found.size else "-",
        _when(found.created_at) if found.created_at else "-",
        state,
        found.id,
    )
    fields: dict[str, Json] = {
        "provider": provider,
        "id": found.id,
        "name": found.name,
        "identity": found.identity,
        "size": found.size or None,
        "published_at": _iso(found.created_at) if found.created_at else None,
        "in_use": found.in_use,
        "complete": found.complete,
    }
    return Row(cells, fields)


def _first(image: Image) -> str:
    return next(iter(image.files.values())).path if image.files else "-"


def _when(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M")


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
