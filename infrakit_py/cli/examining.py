"""What a cluster's providers find when they examine what its file wants of them. Nothing is changed for it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from random import Random

from infrakit_py.app import App
from infrakit_py.engine.retry import retrying
from infrakit_py.errors import PluginError, ProviderError
from infrakit_py.images.identity import resolved
from infrakit_py.model.instance import InstanceState
from infrakit_py.model.spec import ClusterSpec, Image, ImageForm
from infrakit_py.render.findings import Examination
from infrakit_py.render.words import counted
from infrakit_py.spi.provider import Examining, Finding, Grade, Pointing, Provider, ProviderPlugin, Wanted


def wanted_of(spec: ClusterSpec, provider: str) -> tuple[Wanted, ...]:
    """Return the machines that a spec wants of one of its providers, with images as they are written."""
    return tuple(
        Wanted(group.name, group.machine, spec.images[group.image], group.count, group.logical_ids is not None)
        for group in spec.groups.values()
        if group.provider == provider
    )


def examinations(app: App, spec: ClusterSpec) -> Iterator[Examination]:
    """Open a cluster's providers, and let each look at what is wanted of it. What goes wrong is found, not raised."""
    for name, declared in spec.providers.items():
        plugin = app.plugins.provider(declared.plugin)
        try:
            with app.provider(spec, name) as provider:
                examine = partial(_findings, plugin, provider, spec.name, wanted_of(spec, name))
                found: Sequence[Finding] = retrying(app.clock, Random(), examine)
        except (ProviderError, PluginError) as exc:  # an SDK that is not installed is a plugin's error
            found = [Finding("cannot be used", Grade.PROBLEM, str(exc), exc.hint or "")]
        yield Examination(name, declared.plugin, tuple(found))


def _findings(
    plugin: ProviderPlugin, provider: Provider, cluster: str, wanted: Sequence[Wanted]
) -> Sequence[Finding]:
    if not isinstance(provider, Examining):
        seen = [one for one in provider.describe(cluster) if one.state is not InstanceState.GONE]
        return [Finding("can be reached", Grade.OK, f"{counted(len(seen), 'machine')} of cluster {cluster}")]
    images = {one.image.name: one.image for one in wanted}
    found: list[Finding] = []
    for name, image in images.items():
        if _only_points(plugin, image):
            try:
                images[name] = resolved(image, provider.resolve(image.reference))
            except ProviderError as exc:
                about = f"image {image.name} ({image.reference})"
                found.append(Finding(about, Grade.PROBLEM, str(exc), exc.hint or ""))
    return [*found, *provider.examine(cluster, [replace(one, image=images[one.image.name]) for one in wanted])]


def _only_points(plugin: ProviderPlugin, image: Image) -> bool:
    return image.form is ImageForm.REFERENCE and isinstance(plugin, Pointing) and plugin.points(image.reference)
