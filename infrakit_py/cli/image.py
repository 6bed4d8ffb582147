"""`infra image`: what images there are; building them, and looking into them."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from infrakit_py.cli import options
from infrakit_py.cli.image_publishing import prune, publish
from infrakit_py.errors import UsageError
from infrakit_py.images.exports import FORMATS

if TYPE_CHECKING:
    from infrakit_py.app import App
    from infrakit_py.images.builds import Build
    from infrakit_py.model.spec import ClusterSpec, Image


@click.group()
def image() -> None:
    """Build images from LinuxKit YAML, publish them, compare them, and delete what nobody needs."""


image.add_command(publish)
image.add_command(prune)


@image.command(name="ls")
@options.files
@click.option("--cached", is_flag=True, help="List what was built on this machine instead, whoever declares it.")
@click.option("--published", is_flag=True, help="List what is published at the providers of the files instead.")
@options.as_json
@options.debug
def ls(positional: tuple[Path, ...], named: tuple[Path, ...], cached: bool, published: bool, as_json: bool) -> None:
    """List the images that files declare: whether they are built, and where they are published."""
    from infrakit_py.app import App
    from infrakit_py.cli.image_listing import cached_rows, declared_rows, published_rows
    from infrakit_py.render.tables import table

    if cached and published:
        raise click.UsageError("--cached and --published are two different lists")
    app = App()
    if cached:
        header, rows = cached_rows(app)
    else:
        specs = app.load(options.chosen(positional, named))
        header, rows = published_rows(app, specs) if published else declared_rows(app, specs)
    if as_json:
        click.echo(json.dumps([row.fields for row in rows], indent=2, ensure_ascii=False))
    elif rows:
        click.echo(table(header, [row.cells for row in rows]))
    else:
        click.echo("no images")


@image.command()
@options.files
@options.images
@click.option("--rebuild", is_flag=True, help="Build again what was built before: components may have moved.")
@options.as_json
@options.debug
def build(
    positional: tuple[Path, ...], named: tuple[Path, ...], only: tuple[str, ...], rebuild: bool, as_json: bool
) -> None:
    """Build the images that files declare by LinuxKit YAML, those that were not built before."""
    from infrakit_py.app import App
    from infrakit_py.cli.building import with_images

    app = App()
    specs = app.load(options.chosen(positional, named))
    names = chosen_images(specs, only) if only else {name for spec in specs for name in spec.images}
    done = with_images(app, specs, only=names, again=rebuild)
    found = [one for spec in done for name, one in spec.images.items() if one.recipe is not None and name in names]
    if as_json:
        click.echo(json.dumps([_built_json(one) for one in found], indent=2, ensure_ascii=False))
        return
    for one in found:
        click.echo(f"{one.name}: {one.identity}")
    if not found:
        click.echo("no image is declared by LinuxKit YAML")


@image.command()
@options.one_image
@options.files
@options.debug
def manifest(name: str, positional: tuple[Path, ...], named: tuple[Path, ...]) -> None:
    """Print an image's manifest: the text whose sha256 is the image's identity, and that a signature is made of.

    cosign sign-blob --key cosign.key --output-signature web.yml.sig <(infra image manifest web)
    """
    from infrakit_py.app import App
    from infrakit_py.images.identity import manifest as text_of

    # Its signature may be what is made of this, so that it is not there yet.
    click.echo(text_of(one_image(App(), positional, named, name, unsigned=True)), nl=False)


@image.command()
@options.one_image
@options.files
@click.option("--format", "form", type=click.Choice(FORMATS), required=True, help="What to make.")
@click.option(
    "--output", "-o", "out", type=click.Path(path_type=Path, dir_okay=False), help="Default: IMAGE with its suffix."
)
@options.debug
def export(name: str, positional: tuple[Path, ...], named: tuple[Path, ...], form: str, out: Path | None) -> None:
    """Write an image as a file that boots elsewhere: a disk, or an ISO.

    `gcp` is an archive of disk.raw, as Compute Engine imports it; `vhd` is of fixed size, as Azure takes it.
    """
    from infrakit_py.app import App
    from infrakit_py.images.exports import export as write
    from infrakit_py.model.quantities import format_size

    app = App()
    found = one_image(app, positional, named, name)
    target = out or Path(f"{name}.{'tar.gz' if form == 'gcp' else form}")
    write(app.cache, found, form, target)
    click.echo(f"{target}: {format_size(target.stat().st_size)} ({found.short})")


@image.command()
@options.one_image
@options.files
@click.option("--from", "old", metavar="IDENTITY", help="Beginning of an identity; default: the build before.")
@click.option("--to", "new", metavar="IDENTITY", help="Beginning of an identity; default: what the file declares.")
@options.as_json
@options.debug
def diff(
    name: str,
    positional: tuple[Path, ...],
    named: tuple[Path, ...],
    old: str | None,
    new: str | None,
    as_json: bool,
) -> None:
    """Show what differs between two builds of an image: recipe and parts. Contents and environments stay hidden."""
    from infrakit_py.app import App
    from infrakit_py.cli.images_seen import making, making_of
    from infrakit_py.render.image_changes import changes_between

    app = App()
    if new is None:
        declared = declared_image(app.load(options.chosen(positional, named)), name)
        after = making(declared, app.builds.of_identity(declared.identity))
        to = declared.identity if declared.is_built else "not built"
    else:
        build_after = _build(app, new)
        after, to = making_of(build_after), build_after.identity
    before = _build(app, old) if old is not None else _build_before(app, name, to)
    changes = changes_between(making_of(before), after)
    if as_json:
        document = {"image": name, "from": before.identity, "to": to, "changes": list(changes)}
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    click.echo(f"image {name}: {before.identity[:12]} → {to[:12]}")
    for line in changes or ["nothing that is known of differs"]:
        click.echo(f"  {line}")


def chosen_images(specs: "Sequence[ClusterSpec]", only: Collection[str]) -> set[str]:
    """Return the images that were asked for. UsageError for one that no file declares."""
    known = {name for spec in specs for name in spec.images}
    for name in only:
        if name not in known:
            raise UsageError(f"no file declares an image {name!r} (there are {', '.join(sorted(known)) or 'none'})")
    return set(only)


def declared_image(specs: "Sequence[ClusterSpec]", name: str) -> "Image":
    """Return the one image of this name. UsageError where there is none, or several that differ."""
    chosen_images(specs, [name])
    found = [spec.images[name] for spec in specs if name in spec.images]
    if any(one.identity != found[0].identity for one in found):
        raise UsageError(f"several clusters declare an image {name!r}, and not the same", hint="name one file")
    return found[0]


def one_image(
    app: "App", positional: tuple[Path, ...], named: tuple[Path, ...], name: str, *, unsigned: bool = False
) -> "Image":
    """Return a declared image, built if it was not. `unsigned`: whatever its signature is."""
    from infrakit_py.cli.building import with_images

    specs = app.load(options.chosen(positional, named), unsigned=unsigned)
    chosen_images(specs, [name])
    return declared_image(with_images(app, specs, only=[name]), name)


def _built_json(image: "Image") -> dict[str, object]:
    return {
        "image": image.name,
        "identity": image.identity,
        "architecture": image.architecture,
        "files": {part: {"path": f.path, "sha256": f.sha256, "size": f.size} for part, f in image.files.items()},
        "unpinned": list(image.recipe.unpinned) if image.recipe is not None else [],
    }


def _build(app: "App", identity: str) -> "Build":
    found = app.builds.of_identity(identity)
    if found is None:
        raise UsageError(f"no build gave {identity!r}, as far as is remembered", hint="infra image ls --cached")
    return found


def _build_before(app: "App", name: str, identity: str) -> "Build":
    builds = [build for build in app.builds.all() if build.name == name and build.identity != identity]
    if not builds:
        raise UsageError(f"image {name} was built only once here, or never", hint="infra image ls --cached")
    return max(builds, key=lambda build: build.built_at)
