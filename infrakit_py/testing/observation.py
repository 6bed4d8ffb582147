"""The contract's sentences about what a provider reports, and about tags."""

from dataclasses import replace

from infrakit_py.errors import NotOurs
from infrakit_py.model.instance import Instance, InstanceId, InstanceState
from infrakit_py.model.spec import HealthCheck
from infrakit_py.spi.provider import Outcome, Probing, TagRequest
from infrakit_py.testing.target import ConformanceTarget

ODD_TAGS = {
    "plain": "x",
    "equals": "a=b==c",
    "colon": "a:b::c",
    "commas": ",a,,b,",
    "quotes": "'single' \"double\" `back`",
    "backslash": "\\n is not a line's end",
    "markup": "<a href='x'>&amp;</a>",
    "percent": "%20 %s {braces} ${dollar}",
    "unicode": "Zürich 東京 🚀 é",
    "spaces": "one  two   three",
    "numeric": "007",
    "long": "0123456789abcdef" * 16,
    "long-unicode": "ü" * 256,
    "example.com/team:key=a,b": "an odd key",
    "MixedCase": "MixedCase",
}


class Observation:
    """Tests of `describe`, `lookup` and `tag`, and of what an opened provider says of itself."""

    def test_describe_returns_all_groups_of_a_cluster(self, target: ConformanceTarget) -> None:
        cluster = target.new_cluster()
        made = target.boot(*(target.request(cluster, group=group) for group in ("web", "db", "web-2")))
        assert sorted(_listed(target, cluster)) == sorted(made), "describe must return all groups of the cluster"

    def test_describe_returns_nothing_of_other_clusters(self, target: ConformanceTarget) -> None:
        name = target.new_cluster()
        clusters = [name] + [target.new_cluster(form.replace("#", name)) for form in ("#-b", "b-#", "#b", "#-b-c")]
        made = {cluster: target.boot(target.request(cluster)) for cluster in clusters}
        shown = {cluster: _listed(target, cluster) for cluster in clusters}
        assert shown == made, f"describe must match the whole of a cluster's name, nothing less: {shown} for {made}"

    def test_describe_of_an_unknown_cluster_is_empty(self, target: ConformanceTarget) -> None:
        assert list(target.provider.describe(target.new_cluster())) == [], "describe invented instances"

    def test_an_instance_without_the_tag_is_never_returned(self, target: ConformanceTarget) -> None:
        foreign = target.needs(target.make_foreign, "cannot make foreign machines")()
        cluster = target.new_cluster()
        made = target.boot(target.request(cluster))
        for asked in (cluster, ""):
            shown = _listed(target, asked)
            assert foreign not in shown, f"describe({asked!r}) returns a machine that lacks the cluster's tag"
        assert _listed(target, cluster) == made, "describe lost the cluster's own machine"

    def test_tags_come_back_exactly(self, target: ConformanceTarget) -> None:
        request = target.request(cluster := target.new_cluster())
        request = replace(request, tags={**ODD_TAGS, **request.tags})
        (id_,) = target.boot(request)
        _assert_tags(_seen(target, id_), dict(request.tags))
        _listed(target, cluster)
        _assert_tags(target.listed(cluster)[0], dict(request.tags))

    def test_lookup_sees_a_new_instance_past_any_lag(self, target: ConformanceTarget) -> None:
        (id_,) = target.boot(target.request(target.new_cluster()))
        for provider in (target.provider, target.another()):
            found = provider.lookup([id_, target.unknown_id])
            assert found.get(id_, "cannot tell") is not None, f"lookup says that {id_} is gone, and it is new"
            assert found.get(target.unknown_id) is None, "lookup found an instance that never was"
        assert dict(target.provider.lookup([])) == {}, "lookup of nothing must be empty"

    def test_lookup_and_describe_agree(self, target: ConformanceTarget) -> None:
        cluster = target.new_cluster()
        (id_,) = target.boot(target.request(cluster))
        assert target.eventually(lambda: _seen(target, id_).state is InstanceState.RUNNING), f"{id_} never ran"
        _listed(target, cluster)
        (listed,) = target.listed(cluster)
        looked_up = _seen(target, id_)
        assert (listed.id, listed.state, listed.launched_at, dict(listed.tags)) == (
            looked_up.id,
            looked_up.state,
            looked_up.launched_at,
            dict(looked_up.tags),
        ), "lookup and describe tell different things of one instance"

    def test_a_machine_that_stops_is_reported_as_stopped(self, target: ConformanceTarget) -> None:
        stop = target.needs(target.stop, "cannot stop a machine from outside")
        (id_,) = target.boot(target.request(target.new_cluster()))
        assert target.eventually(lambda: _seen(target, id_).state is InstanceState.RUNNING), f"{id_} never ran"
        stop(id_)
        assert target.eventually(lambda: _seen(target, id_).state is InstanceState.STOPPED), f"{id_} is not STOPPED"
        if isinstance(target.provider, Probing):
            assert target.provider.probe(id_, HealthCheck()), "a machine that does not run cannot be healthy"

    def test_a_probe_tells_a_machine_that_runs_healthy(self, target: ConformanceTarget) -> None:
        if not isinstance(provider := target.provider, Probing):
            target.needs(None, "does not answer health checks itself")
            return
        (id_,) = target.boot(target.request(target.new_cluster()))
        healthy = target.eventually(lambda: provider.probe(id_, HealthCheck()) is None)
        assert healthy, f"the probe never finds {id_} healthy: {provider.probe(id_, HealthCheck())}"

    def test_tags_are_set_and_removed_however_often(self, target: ConformanceTarget) -> None:
        request = target.request(cluster := target.new_cluster())
        (id_,) = target.boot(replace(request, tags={**request.tags, "kept": "1", "dropped": "2", "changed": "3"}))
        change = TagRequest(id_, cluster, {**ODD_TAGS, "changed": "4"}, ("dropped", "never-there"))
        wanted = {**request.tags, **ODD_TAGS, "kept": "1", "changed": "4"}
        for _ in range(2):
            (outcome,) = target.provider.tag([change])
            assert outcome.error is None, f"tag must be idempotent: {outcome.error!r}"
            assert target.eventually(lambda: dict(_seen(target, id_).tags) == wanted), "tags are not as they were set"
            _assert_tags(_seen(target, id_), wanted)

    def test_tag_leaves_machines_of_others_alone(self, target: ConformanceTarget) -> None:
        cluster, other = target.new_cluster(), target.new_cluster()
        ours, theirs = target.boot(target.request(cluster), target.request(other))
        outcomes = _tag_each(target, [TagRequest(id_, cluster, {"x": "1"}) for id_ in (theirs, ours)])
        assert isinstance(outcomes[0].error, NotOurs), f"another cluster's machine must be NotOurs: {outcomes[0]}"
        assert outcomes[1].error is None, f"one refused request spoiled another: {outcomes[1]}"
        assert target.eventually(lambda: _seen(target, ours).tags.get("x") == "1"), "outcomes are not in order"
        assert "x" not in _seen(target, theirs).tags, "the machine of another cluster was tagged"

    def test_tag_refuses_a_foreign_machine(self, target: ConformanceTarget) -> None:
        foreign = target.needs(target.make_foreign, "cannot make foreign machines")()
        (outcome,) = target.provider.tag([TagRequest(foreign, target.new_cluster(), {"x": "1"})])
        assert isinstance(outcome.error, NotOurs), f"a machine without our tags must be NotOurs: {outcome}"

    def test_what_a_provider_says_of_itself_makes_sense(self, target: ConformanceTarget) -> None:
        limits = target.provider.limits
        numbers = (limits.provision_batch, limits.destroy_batch, limits.tag_batch, limits.parallel_calls)
        assert all(number >= 1 for number in numbers), f"limits below one: {limits}"
        assert target.provider.listing_lag_seconds >= 0, "a listing cannot be ahead of time"

    def test_watch_returns_and_close_harms_no_other_provider(self, target: ConformanceTarget) -> None:
        other = target.open_another()
        other.watch(lambda: None)
        other.close()
        cluster = target.new_cluster()
        made = target.boot(target.request(cluster))
        assert _listed(target, cluster) == made, "closing one provider harmed another"

    def test_a_plugin_refuses_what_it_does_not_know(self, target: ConformanceTarget) -> None:
        plugin = target.needs(target.plugin, "was given without its plugin")
        assert plugin.summary and "\n" not in plugin.summary, "`summary` must be one line"
        plugin.machine.model_validate(dict(target.machine))
        for model in (plugin.settings, plugin.machine):
            extra = model.model_config.get("extra")
            assert extra == "forbid", f'{model.__name__} must refuse unknown keys: model_config extra="forbid"'


def _listed(target: ConformanceTarget, cluster: str) -> list[InstanceId]:
    target.clock.sleep(target.provider.listing_lag_seconds)
    return [instance.id for instance in target.listed(cluster)]


def _seen(target: ConformanceTarget, instance_id: InstanceId) -> Instance:
    found = target.instance(instance_id)
    assert found, f"lookup does not see {instance_id}, which exists"
    return found


def _assert_tags(instance: Instance, wanted: dict[str, str]) -> None:
    got = dict(instance.tags)
    wrong = {key: (wanted.get(key), got.get(key)) for key in wanted | got if wanted.get(key) != got.get(key)}
    assert not wrong, f"tags must come back exactly; (written, reported): {wrong}"


def _tag_each(target: ConformanceTarget, requests: list[TagRequest]) -> list[Outcome]:
    size = target.provider.limits.tag_batch
    batches = [requests[at : at + size] for at in range(0, len(requests), size)]
    return [outcome for batch in batches for outcome in target.provider.tag(batch)]
