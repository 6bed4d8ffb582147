"""`infra image publish` and `infra image prune`: what lies at providers, and on this machine."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from infrakit_py.cli import options
from infrakit_py.cli.asking import asked
from infrakit_py.errors import InfrakitError, UsageError
from infrakit_py.spi.images import IDENTITY_DIGITS

if TYPE_CHECKING:
    from infrakit_py.app import App
    from infrakit_py.images.pruning import Kept
    from infrakit_py.model.spec import ClusterSpec, Image
    from infrakit_py.spi.images import Publication
    from infrakit_py.spi.provider import Outcome, Provider

_PROGRESS_SECONDS: Final = 1.0
_DEFAULT_FILE: Final = Path("cluster.yml")


@click.command()
@options.files
@options.images
@click.option("--provider", "providers", multiple=True, metavar="NAME", help="Only there; may be repeated.")
@options.as_json
@options.debug
def publish(
    positional: tuple[Path, ...],
    named: tuple[Path, ...],
    only: tuple[str, ...],
    providers: tuple[str, ...],
    as_json: bool,
) -> None:
    """Publish images where groups boot them, before any machine is changed. What is there already stays.

    `infra apply` does this by itself; doing it before makes the change itself shorter.
    """
    from infrakit_py.app import App
    from infrakit_py.cli.building import with_images
    from infrakit_py.cli.image import chosen_images

    app = App()
    specs = app.load(options.chosen(positional, named))
    names = chosen_images(specs, only) if only else {group.image for spec in specs for group in spec.groups.values()}
    done = []
    for spec in with_images(app, specs, only=names):
        for provider, image in _places(spec, names, providers):
            published = _published(app, spec, provider, image)
            done.append({"cluster": spec.name, "image": image.name, "identity": image.identity, "provider": provider})
            if not as_json:
                word = "published" if published else "was there already"
                click.echo(f"image {image.name} ({image.short}) on {provider}: {word}")
    if as_json:
        click.echo(json.dumps(done, indent=2, ensure_ascii=False))


@click.command()
@options.files
@click.option("--only-cache", is_flag=True, help="Delete nothing at providers.")
@click.option("--only-published", is_flag=True, help="Delete nothing on this machine.")
@click.option(
    "--older-than",
    type=options.Duration(),
    default="1d",
    show_default=True,
    help="At providers: leave alone what was published since; somebody may be about to boot it.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be deleted, and delete nothing.")
@click.option("--auto-approve", is_flag=True, help="Do not ask. Without a terminal, this is required.")
@options.as_json
@options.debug
def prune(
    positional: tuple[Path, ...],
    named: tuple[Path, ...],
    only_cache: bool,
    only_published: bool,
    older_than: float,
    dry_run: bool,
    auto_approve: bool,
    as_json: bool,
) -> int:
    """Delete images that nobody needs: on this machine, and at the providers of the files.

    Kept is what any machine was made from, what a kept version of any cluster names (it may be gone back to), and
    what the files declare.
    """
    from infrakit_py.app import App
    from infrakit_py.cli.changing import approve

    if only_cache and only_published:
        raise UsageError("--only-cache and --only-published together leave nothing to delete")
    app = App()
    has_files = positional or named or _DEFAULT_FILE.exists()
    specs = app.load(options.chosen(positional, named), unsigned=True) if has_files else ()
    goes = _Goes.found(app, specs, older_than, cache=not only_published, providers=not only_cache)
    if as_json:
        click.echo(json.dumps(goes.as_json(), indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(goes.lines()) or "nothing to delete")
    if dry_run or not (goes.kept or goes.publications):
        return 0
    if not approve("Delete all of this?", auto_approve=auto_approve):
        raise click.Abort
    return _delete(app, goes)


@dataclass(frozen=True, slots=True)
class _Goes:
    """What shall be deleted."""

    kept: "Sequence[Kept]"
    publications: "Sequence[tuple[ClusterSpec, str, Publication]]"

    @classmethod
    def found(
        cls, app: "App", specs: "Sequence[ClusterSpec]", older_than: float, *, cache: bool, providers: bool
    ) -> "_Goes":
        from infrakit_py.images.pruning import prunable

        declared = {image.identity for spec in specs for image in spec.images.values()}
        wanted = declared | app.remembered_images()
        now = app.clock.now()
        kept = prunable(app.cache, app.builds, wanted, now) if cache else ()
        if not providers:
            return cls(kept, ())
        known = {identity[:IDENTITY_DIGITS] for identity in wanted}
        found = {
            (provider, publication.id): (spec, provider, publication)
            for spec in specs
            for provider in spec.providers
            for publication in asked(app, spec, provider, lambda opened: opened.publications())
            if not publication.in_use
            and publication.identity[:IDENTITY_DIGITS] not in known
            and (not publication.created_at or now - publication.created_at >= older_than)
        }
        return cls(kept, list(found.values()))

    def lines(self) -> Iterator[str]:
        from infrakit_py.model.quantities import format_size

        for one in self.kept:
            yield f"- {one.kind:<8} {format_size(one.size):>10}  {one.path}"
        for _, provider, publication in self.publications:
            size = format_size(publication.size) if publication.size else "-"
            cut = "" if publication.complete else "  (cut short)"
            yield f"- published {size:>9}  {publication.name} on {provider}{cut}"

    def as_json(self) -> object:
        return {
            "cache": [
                {"kind": k.kind, "path": str(k.path), "size": k.size, "identity": k.identity} for k in self.kept
            ],
            "published": [
                {"provider": provider, "id": p.id, "name": p.name, "identity": p.identity, "complete": p.complete}
                for _, provider, p in self.publications
            ],
        }


def _delete(app: "App", goes: _Goes) -> int:
    """Delete, and go on where something cannot be."""
    from infrakit_py.images.pruning import prune as delete

    errors: list[InfrakitError] = []
    for one in goes.kept:
        try:
            delete(one)
        except InfrakitError as exc:
            errors.append(exc)
    for spec, provider, publication in goes.publications:
        try:
            (outcome,) = asked(app, spec, provider, partial(_unpublished, publication))
        except InfrakitError as exc:
            errors.append(exc)
        else:
            errors += [outcome.error] if outcome.error is not None else []
    for error in errors:
        click.echo(f"could not be deleted: {error}", err=True)
    return 1 if errors else 0


def _unpublished(publication: "Publication", provider: "Provider") -> "Sequence[Outcome]":
    return provider.unpublish([publication])


def _places(spec: "ClusterSpec", names: "set[str]", providers: Sequence[str]) -> "Iterator[tuple[str, Image]]":
    """Yield the providers that groups boot these images at, each with the image."""
    for name in providers:
        if name not in spec.providers:
            raise UsageError(f"no provider {name!r} in cluster {spec.name} (there are {', '.join(spec.providers)})")
    found = {(group.provider, group.image): None for group in spec.groups.values() if group.image in names}
    for provider, image in found:
        if not providers or provider in providers:
            yield provider, spec.images[image]


def _published(app: "App", spec: "ClusterSpec", provider: str, image: "Image") -> bool:
    """Publish an image unless it is there. Return whether it had to be."""
    from infrakit_py.model.quantities import format_size

    told_at = app.clock.now()

    def progress(done: int, total: int) -> None:
        nonlocal told_at
        if app.clock.now() - told_at >= _PROGRESS_SECONDS:
            told_at = app.clock.now()
            click.echo(f"image {image.name} on {provider}: {format_size(done)} of {format_size(total)}", err=True)

    if image.identity in asked(app, spec, provider, lambda opened: opened.published([image])):
        return False
    asked(app, spec, provider, lambda opened: opened.publish(image, progress))
    return True
