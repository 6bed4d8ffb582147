"""`infra apply --server`: files of this machine become what a controller far away keeps."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click

from infrakit_py.app import App
from infrakit_py.app.bundles import Bundles
from infrakit_py.cli.outlook import Goal
from infrakit_py.cli.served import latest_event, listed_in, read
from infrakit_py.cli.serving import Server
from infrakit_py.cli.waiting import wait_until_done
from infrakit_py.errors import Problem, SpecError, UsageError
from infrakit_py.images.identity import read_image
from infrakit_py.loading.bundle import Bundle, bundle
from infrakit_py.model.recipes import unbuilt_identity
from infrakit_py.model.spec import Image, ImageFile, ImageForm, Json, Signed
from infrakit_py.remote.client import Client, below

_MOST_BYTES: Final = 4 * 1024 * 1024
"""What a server takes at once."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of one cluster, or would."""

    cluster: str
    revision: int
    changed: bool


def declare(
    server: Server,
    paths: Sequence[Path],
    *,
    check: bool,
    dry_run: bool,
    expected: Mapping[str, int],
    wait: bool,
    timeout_seconds: float,
    as_json: bool,
) -> int:
    """Send files with all that they refer to, say what is in force then, and with `wait` wait for it."""
    packed = bundle(paths)
    if sum(len(text.encode()) for text in packed.files.values()) > _MOST_BYTES:
        raise UsageError(f"the files hold more than {_MOST_BYTES // 2**20} MiB: more than a server takes at once")
    if check:
        _check(packed)
    client = server.client()
    after = latest_event(client) if wait else 0
    applied, told = _sent(client, packed, expected, dry_run=dry_run)
    if as_json:
        click.echo(json.dumps({**told}, ensure_ascii=False))
    for one in () if as_json else applied:
        click.echo(f"{one.cluster}: {_words(one, dry_run=dry_run)}")
    if not wait or dry_run:
        return 0
    goal = Goal(revisions={one.cluster: one.revision for one in applied})
    return wait_until_done(client, goal, after, timeout_seconds=timeout_seconds, as_json=as_json)


def _sent(
    client: Client, packed: Bundle, expected: Mapping[str, int], *, dry_run: bool
) -> tuple[list[Applied], Mapping[str, Json]]:
    body: dict[str, Json] = {"files": dict(packed.files), "main": list(packed.main)}
    if expected:
        body["expected"] = dict(expected)
    try:
        told = client.post(below("apply"), body, {"dry_run": dry_run})
    except SpecError as exc:
        raise _as_named(exc, packed) from exc
    return [read(Applied, one, client) for one in listed_in(told, "clusters", client)], told


def _check(packed: Bundle) -> None:
    """Validate just what will be sent. SpecError with the names that files have here.

    Environment variables are the controller's: where one is not set here, only the controller can tell.
    """
    environment = _Environment(App().environment)
    with TemporaryDirectory(prefix="infra-apply-") as scratch:
        bundles = Bundles(Path(scratch), lambda: ())
        with bundles.kept(packed.files, keep=False) as kept:
            try:
                kept.load(packed.main, lambda paths: App(environment).load(paths, _unread, unsigned=True))
            except SpecError as exc:
                if not environment.unset:
                    raise _as_named(exc, packed) from exc
    if environment.unset:
        names = ", ".join(sorted(environment.unset))
        click.echo(
            f"not checked here, because {names} is not set here: the controller's environment counts", err=True
        )


def _as_named(error: SpecError, packed: Bundle) -> SpecError:
    return SpecError([_renamed(problem, packed.names) for problem in error.problems])


def _renamed(problem: Problem, names: Mapping[str, str]) -> Problem:
    message = problem.message
    for sent, name in names.items():
        message = message.replace(f"{sent}:", f"{name}:") if sent != name else message
    return replace(problem, file=names.get(problem.file, problem.file), message=message)


def _words(applied: Applied, *, dry_run: bool) -> str:
    if not applied.changed:
        return f"revision {applied.revision}, as it is in force already"
    return f"would be revision {applied.revision}" if dry_run else f"revision {applied.revision} is in force"


@dataclass(frozen=True, slots=True)
class _Environment(Mapping[str, str]):
    """An environment that notes which variables somebody missed."""

    variables: Mapping[str, str]
    unset: set[str] = field(default_factory=set)

    def __getitem__(self, name: str) -> str:
        return self.variables[name]

    def __contains__(self, name: object) -> bool:
        if name in self.variables:
            return True
        self.unset.add(str(name))
        return False

    def __iter__(self) -> Iterator[str]:
        return iter(self.variables)

    def __len__(self) -> int:
        return len(self.variables)


def _unread(
    name: str,
    form: ImageForm,
    paths: Mapping[str, Path],
    *,
    reference: str = "",
    disk_format: str = "raw",
    signed: Signed | None = None,
) -> Image:
    """Take an image for granted whose files lie on the controller's machine."""
    if form is ImageForm.REFERENCE:
        return read_image(name, form, paths, reference=reference, disk_format=disk_format, signed=signed)
    files = {part: ImageFile(str(path), "", 0) for part, path in paths.items()}
    return Image(name, unbuilt_identity(name), form, files, disk_format)
