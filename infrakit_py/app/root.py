"""Opening clusters, stores and stages: where what the plugins offer and what the files declare come together."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random
from threading import Event as Flag
from typing import Final

from pydantic import ValidationError

from infrakit_py.app.images import built, looked_up, unsigned_recipes, without_signatures
from infrakit_py.app.workbench import Workbench
from infrakit_py.clock import Clock, SystemClock, VirtualClock
from infrakit_py.engine.cluster import Cluster, Group, declared, revived, want_nothing
from infrakit_py.engine.execute import allowed
from infrakit_py.engine.health import PROBES_AT_ONCE, HealthMonitor
from infrakit_py.engine.limits import Limiters
from infrakit_py.engine.meter import Meter, NoMeter
from infrakit_py.engine.observe import Observer
from infrakit_py.engine.rehearse import Script
from infrakit_py.engine.runner import InlineRunner, Runner, ThreadRunner
from infrakit_py.engine.stage import Known, Scene, StandIn, StillFlavor, cloud_settings
from infrakit_py.engine.unreachable import Unreachable
from infrakit_py.engine.versions import Revive, Versions
from infrakit_py.errors import ProviderError, UsageError
from infrakit_py.images.builds import Builds, Progress
from infrakit_py.images.cache import Cache, cache_directory
from infrakit_py.images.disks import DiskMaker
from infrakit_py.images.identity import read_image, resolved
from infrakit_py.loading import ImageReader, is_as_read, load
from infrakit_py.model.controller import EtcdAddress
from infrakit_py.model.fingerprint import spec_digest
from infrakit_py.model.quantities import format_duration
from infrakit_py.model.revision import GroupVersion, HistoryEntry
from infrakit_py.model.spec import ClusterSpec, GroupSpec, Image, ImageForm, ProviderSpec
from infrakit_py.plugins import InstalledPlugins
from infrakit_py.sources.mirror import Mirror, Remote
from infrakit_py.spi.claims import Claims
from infrakit_py.spi.flavor import Flavor
from infrakit_py.spi.provider import CallLimits, Pace, Pointing, Provider, ProviderContext
from infrakit_py.spi.store import Store
from infrakit_py.stores.looking import read_only, remembered_images
from infrakit_py.stores.memory import MemoryStore
from infrakit_py.stores.past import Remembered
from infrakit_py.stores.sqlite import SqliteStore, state_directory
from infrakit_py.stores.transfer import Transfer

DEFAULT_PARALLELISM: Final = 10
_POLICY: Final = "rolling"
_SIMULATED: Final = "simulated"
"""The provider on which changes are rehearsed."""
_IN_MEMORY: Final = ":memory:"


@dataclass(frozen=True, slots=True)
class Rollouts:
    """What is remembered of a cluster's rollouts, for a person's word on them. No provider is open."""

    cluster: str
    groups: Mapping[str, Group]
    store: Store
    versions: Versions
    clock: Clock


@dataclass(frozen=True, slots=True)
class App:
    """What all commands share. `environment` is read for `${env:...}` and for where state lives."""

    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    clock: Clock = field(default_factory=SystemClock)
    plugins: InstalledPlugins = field(default_factory=InstalledPlugins)
    limiters: Limiters = field(default_factory=Limiters)

    def load(
        self, paths: Sequence[Path], images: ImageReader = read_image, *, unsigned: bool = False
    ) -> tuple[ClusterSpec, ...]:
        """Read and validate specs, and find the images that were built before.

        SpecError with every mistake; nothing has been touched. `unsigned`: signatures of images are not looked at,
        for who boots nothing.
        """
        read = without_signatures(images) if unsigned else images
        declared = load(paths, self.plugins, self.environment, read)
        builds = self.builds
        return tuple(looked_up(unsigned_recipes(spec) if unsigned else spec, builds) for spec in declared)

    def build(
        self,
        specs: Sequence[ClusterSpec],
        progress: Progress,
        *,
        only: Collection[str] | None = None,
        again: bool = False,
        stop: Flag | None = None,
    ) -> tuple[ClusterSpec, ...]:
        """Build the images that the groups of specs boot, or those that `only` names, where nobody has, or `again`.

        InfrakitError where that cannot be done, or `stop` is set. Concurrent builds of one recipe are one.
        """
        builds = Builds(self.cache, self.environment, self.clock, is_as_read, stop)
        return built(specs, builds, progress, only=only, again=again)

    @property
    def builds(self) -> Builds:
        """The images that were built on this machine."""
        return Builds(self.cache, self.environment, self.clock, is_as_read)

    @property
    def cache(self) -> Cache:
        """Where images are kept on this machine."""
        return Cache(cache_directory(self.environment))

    @contextmanager
    def store(self) -> Iterator[Transfer]:
        store = SqliteStore(state_directory(self.environment))
        try:
            yield store
        finally:
            store.close()

    @contextmanager
    def shared_store(self, address: EtcdAddress, member: str) -> Iterator[tuple[Transfer, Claims]]:
        """Open the store that several controllers share, with the claims of the one called `member`.

        PluginError where its client is not installed.
        """
        from infrakit_py.stores.etcd import open_etcd

        store, claims = open_etcd(address, member, self.clock)
        try:
            yield store, claims
        finally:
            store.close()

    @contextmanager
    def workbench(
        self,
        spec: ClusterSpec,
        store: Store | None = None,
        *,
        only: Sequence[str] = (),
        parallelism: int = DEFAULT_PARALLELISM,
        allow_mass_destroy: bool = False,
        destroy: bool = False,
        revision: int | None = None,
        permit: Callable[[], None] = allowed,
        meter: Meter | None = None,
    ) -> Iterator[Workbench]:
        """Open a cluster's providers.

        `only` names the groups to work on; `destroy` wants nothing to remain of them. `store` is None for
        commands that only look: what is remembered is then read and never written. `revision` numbers
        the spec where it has a number. `permit` is asked before each call that changes something.
        """
        with ExitStack() as stack:
            providers = {name: self._open(spec, name, stack) for name in spec.providers}
            if not destroy:  # what goes needs no image, and the pointer to it may be gone already
                spec = self._resolved(spec, providers)
            runner = self._runner(parallelism)
            stack.callback(runner.close)
            probes = self._runner(PROBES_AT_ONCE)
            stack.callback(probes.close)
            kept = store if store is not None else read_only(state_directory(self.environment), spec.name)
            if revision is None:
                revision = kept.revision(spec.name, spec_digest(spec), self.clock.now())
            remember = partial(kept.note_healthy, spec.name)
            monitor = HealthMonitor(self.clock, probes, kept.healthy_since(spec.name), remember)
            chance = self._chance()
            observer = Observer(spec.name, providers, kept, monitor, self.clock, chance, meter)
            seen = observer.groups_seen(all_of_them=destroy)
            groups = self._groups(
                spec,
                seen,
                only,
                providers,
                revision=revision,
                allow_mass_destroy=allow_mass_destroy,
                destroy=destroy,
            )
            order = _order(spec, groups, downwards=destroy)
            cluster = Cluster(spec.name, revision, providers, groups, order, spec.max_unavailable)
            revive = self._revive(spec, providers)
            versions = Versions(spec.name, kept, self.clock, revive, partial(self._can_run, spec))
            limiters = self.limiters.of(providers, self.clock.now())
            yield Workbench(
                spec,
                cluster,
                observer,
                monitor,
                runner,
                self.clock,
                kept,
                versions,
                chance,
                limiters,
                permit,
                meter if meter is not None else NoMeter(),
            )

    @contextmanager
    def provider(self, spec: ClusterSpec, name: str) -> Iterator[Provider]:
        """Open one of a cluster's providers, to ask it things. One that cannot be opened answers with the reason."""
        with ExitStack() as stack:
            yield self._open(spec, name, stack)

    def remembered_images(self) -> frozenset[str]:
        """Return the identities of the images that kept versions of any cluster name. Write nothing."""
        return remembered_images(state_directory(self.environment))

    def mirror(self, remote: Remote) -> Mirror:
        """Return the mirror of a branch, beside the state: what was in force survives a restart."""
        return Mirror(state_directory(self.environment) / "git", remote, self.environment)

    def history(self, cluster: str) -> Sequence[HistoryEntry]:
        """Return what happened to the versions of a cluster's groups, the oldest first. Write nothing."""
        return read_only(state_directory(self.environment), cluster).history(cluster)

    def rollouts(self, spec: ClusterSpec, store: Store, *, only: Sequence[str] = ()) -> Rollouts:
        """Return what is remembered of the declared groups, or of those that `only` names."""
        with ExitStack() as stack:
            pointing = sorted({group.provider for group, _ in self._pointing(spec)})
            spec = self._resolved(spec, {name: self._open(spec, name, stack) for name in pointing})
        groups = self._groups(spec, frozenset(), only, {}, revision=0, allow_mass_destroy=False, destroy=False)
        versions = Versions(spec.name, store, self.clock, self._revive(spec, {}), partial(self._can_run, spec))
        return Rollouts(spec.name, groups, store, versions, self.clock)

    def shows_more(self, bench: Workbench) -> bool:
        """Ask whether a cluster would show more if it were opened anew: a provider, or an undeclared group."""
        for name, provider in bench.cluster.providers.items():
            if isinstance(provider, Unreachable):
                with ExitStack() as stack:
                    if not isinstance(self._open(bench.spec, name, stack), Unreachable):
                        return True
        return not bench.observer.groups_seen(all_of_them=False) <= bench.cluster.groups.keys()

    def _can_run(self, spec: ClusterSpec, version: GroupVersion) -> bool:
        """Tell whether a version's machines are such as the provider of its name has: that may be another one now."""
        provider = spec.providers.get(version.group.provider)
        if provider is None:
            return False
        try:
            self.plugins.provider(provider.plugin).machine.model_validate(dict(version.group.machine))
        except ValidationError:
            return False
        return True

    def _revive(self, spec: ClusterSpec, providers: Mapping[str, Provider]) -> Revive:
        policy = self.plugins.policy(_POLICY)

        def revive(version: GroupVersion, now: GroupSpec) -> Group:
            provider = providers.get(version.group.provider)
            return revived(spec.name, version, now, self._flavor(spec, version.group), policy, provider)

        return revive

    def _open(self, spec: ClusterSpec, name: str, stack: ExitStack) -> Provider:
        declared = spec.providers[name]
        context = ProviderContext(self.clock, Path(spec.source).parent, DiskMaker(self.cache))
        try:
            provider = self.plugins.provider(declared.plugin).open(declared.settings, context)
        except ProviderError as exc:
            return Unreachable(ProviderError(f"provider {name}: {exc}", hint=exc.hint))
        stack.callback(provider.close)
        return provider

    def _groups(
        self,
        spec: ClusterSpec,
        seen: frozenset[str],
        only: Sequence[str],
        providers: Mapping[str, Provider],
        *,
        revision: int,
        allow_mass_destroy: bool,
        destroy: bool,
    ) -> Mapping[str, Group]:
        policy = self.plugins.policy(_POLICY)
        known = [*spec.groups, *sorted(seen - spec.groups.keys())]
        for name in only:
            if name not in known:
                raise UsageError(f"no group {name!r} in cluster {spec.name} (there are {', '.join(known) or 'none'})")
        groups: dict[str, Group] = {}
        for name in only or known:
            group = spec.groups.get(name)
            if group is None or destroy:
                desired = want_nothing(spec.name, name, allow_mass_destroy=allow_mass_destroy or destroy)
                groups[name] = Group(desired, policy)
            else:
                groups[name] = declared(
                    spec.name,
                    group,
                    spec.images[group.image],
                    self._flavor(spec, group),
                    policy,
                    provider=providers.get(group.provider),
                    revision=revision,
                    allow_mass_destroy=allow_mass_destroy,
                )
        return groups

    def _pointing(self, spec: ClusterSpec) -> Iterator[tuple[GroupSpec, Image]]:
        """Yield the groups whose image is a reference that only points to one, with that image."""
        for group in spec.groups.values():
            image = spec.images[group.image]
            plugin = self.plugins.provider(spec.providers[group.provider].plugin)
            if image.form is ImageForm.REFERENCE and isinstance(plugin, Pointing) and plugin.points(image.reference):
                yield group, image

    def _resolved(self, spec: ClusterSpec, providers: dict[str, Provider]) -> ClusterSpec:
        """Return a spec in which no image only points to one.

        A provider that cannot say which one it is counts as unreachable from here on: its groups fail, and no other.
        Two groups of different providers may mean different images by one reference.
        """
        images, groups = dict(spec.images), dict(spec.groups)
        for group, image in self._pointing(spec):
            name = f"{image.name}@{group.provider}"
            if name not in images:
                try:
                    reference = providers[group.provider].resolve(image.reference)
                except ProviderError as exc:
                    reference = image.reference
                    failure = ProviderError(f"image {image.name} ({reference}): {exc}", hint=exc.hint)
                    providers[group.provider] = Unreachable(failure)
                images[name] = resolved(image, reference)
            groups[group.name] = replace(group, image=name)
        used = {group.image for group in groups.values()}
        pointers = {image.name for image in images.values() if image.written}
        kept = {name: image for name, image in images.items() if name in used or name not in pointers}
        return replace(spec, images=kept, groups=groups)

    def _flavor(self, spec: ClusterSpec, group: GroupSpec) -> Flavor:
        plugin = self.plugins.flavor(group.flavor.kind)
        return plugin.open(group.flavor.options, cluster=spec.name, group=group.name)

    def _runner(self, parallelism: int) -> Runner:
        return ThreadRunner(parallelism)

    def _chance(self) -> Random:
        return Random()

    @contextmanager
    def stage(self, specs: Sequence[ClusterSpec], scene: Scene, script: Script) -> Iterator["Stage"]:
        """Open clouds that stand in for all providers of these specs; of two of one name the later one counts."""
        clock = VirtualClock(scene.at)
        clouds: dict[str, StandIn] = {}
        with ExitStack() as stack:
            for spec in specs:
                directory = Path(spec.source).parent
                for name, provider in spec.providers.items():
                    clouds[name] = self._stand_in(provider, scene, script, ProviderContext(clock, directory))
                    stack.callback(clouds[name].close)
            for name, cloud in clouds.items():
                scene.set_up(name, cloud)
            yield Stage(self.environment, clock, self.plugins, clouds=clouds, seed=script.seed or 0)

    def mishaps(self) -> Mapping[str, str]:
        """Return what may go wrong in a rehearsal, each with a line of help."""
        context = ProviderContext(self.clock, Path())
        cloud = StandIn(self.plugins.provider(_SIMULATED).open({"database": _IN_MEMORY}, context))
        cloud.close()
        return cloud.mishaps

    def _stand_in(self, spec: ProviderSpec, scene: Scene, script: Script, context: ProviderContext) -> StandIn:
        plugin = self.plugins.provider(spec.plugin)
        known = scene.known.get(spec.name) or Known(
            getattr(plugin, "pace", Pace()), getattr(plugin, "limits", CallLimits())
        )
        simulated = spec.plugin == _SIMULATED
        settings = spec.settings if simulated else cloud_settings(known, scene.zones(spec.name))
        settings = {**settings, "database": _IN_MEMORY}
        if script.seed is not None:
            settings["seed"] = script.seed
        if script.boot_seconds is not None:
            settings["boot_time"] = format_duration(script.boot_seconds)
        cloud = self.plugins.provider(_SIMULATED).open(settings, context)
        return StandIn(cloud) if simulated else StandIn(cloud, known)


@dataclass(frozen=True, slots=True)
class Stage(App):
    """An App in virtual time and in one thread, whose providers are simulated. It touches nothing outside."""

    clouds: Mapping[str, StandIn] = field(default_factory=dict)
    seed: int = 0

    def memory(self, cluster: str, remembered: Remembered) -> Store:
        """Return a store that is gone with the rehearsal."""
        return MemoryStore.remembering(cluster, remembered, self.clock)

    def _open(self, spec: ClusterSpec, name: str, stack: ExitStack) -> Provider:
        del spec, stack
        return self.clouds[name]

    def _flavor(self, spec: ClusterSpec, group: GroupSpec) -> Flavor:
        return StillFlavor(App._flavor(self, spec, group))  # super() knows another class than the one with slots

    def _runner(self, parallelism: int) -> Runner:
        del parallelism
        return InlineRunner()

    def _chance(self) -> Random:
        return Random(self.seed)


def _order(spec: ClusterSpec, groups: Mapping[str, Group], *, downwards: bool) -> Mapping[str, tuple[str, ...]]:
    """Return which groups each has to wait for: those it depends on, or, going down, those that depend on it."""
    after: dict[str, tuple[str, ...]] = {}
    for name in groups:
        if downwards:
            after[name] = tuple(g.name for g in spec.groups.values() if name in g.depends_on and g.name in groups)
        elif name in spec.groups:
            after[name] = tuple(other for other in spec.groups[name].depends_on if other in groups)
    return after
