"""The contract's sentences about provisioning."""

from dataclasses import replace
from functools import partial
from threading import Event, Thread

from infrakit_py.errors import ImageMissing, ProviderError, TokenMismatch, TokenSpent
from infrakit_py.model import tags
from infrakit_py.model.instance import InstanceId, InstanceState
from infrakit_py.spi.provider import Outcome, ProvisionRequest
from infrakit_py.testing.target import THREADS, ConformanceTarget, together

ON_ITS_WAY = frozenset({InstanceState.PENDING, InstanceState.RUNNING})
SECRET = b"conformance-secret-b7c1"


class Creation:
    """Tests of `provision`."""

    def test_provision_answers_each_request_in_order(self, target: ConformanceTarget) -> None:
        cluster = target.new_cluster()
        requests = [target.request(cluster, slot) for slot in range(5)]
        made = target.provider.lookup(ids := target.boot(*requests))
        tokens = [instance.tags.get(tags.TOKEN) if (instance := made.get(id_)) else None for id_ in ids]
        assert tokens == [request.token for request in requests], "outcomes are not in the requests' order"

    def test_provision_of_nothing_does_nothing(self, target: ConformanceTarget) -> None:
        assert list(target.provider.provision([])) == [], "a batch of none must have no outcomes"

    def test_an_accepted_machine_is_on_its_way_and_comes_to_run(self, target: ConformanceTarget) -> None:
        before = target.clock.now()
        (id_,) = target.boot(target.request(target.new_cluster()))
        made = target.instance(id_)
        assert made, f"lookup does not see {id_}, which was just accepted"
        assert made.state in ON_ITS_WAY, f"an accepted machine is {made.state}, neither pending nor running"
        assert abs(made.launched_at - before) < 600, f"launched_at is not Unix time in seconds: {made.launched_at}"
        assert target.eventually(lambda: _state(target, id_) is InstanceState.RUNNING), f"{id_} never came to run"

    def test_an_accepted_machine_is_listed_within_the_lag(self, target: ConformanceTarget) -> None:
        cluster = target.new_cluster()
        (id_,) = target.boot(target.request(cluster))
        target.clock.sleep(target.provider.listing_lag_seconds)
        listed = [instance.id for instance in target.listed(cluster)]
        assert listed == [id_], f"listing_lag_seconds after it was accepted, describe shows {listed}, not {id_}"

    def test_the_same_token_gives_the_same_instance(self, target: ConformanceTarget) -> None:
        request = target.request(cluster := target.new_cluster())
        first, at_once = target.boot(request), target.boot(request)
        target.clock.sleep(target.provider.listing_lag_seconds)
        later = target.boot(request)
        assert first == at_once == later, f"one token gave several instances: {first}, {at_once}, {later}"
        _assert_only(target, cluster, first[0])

    def test_the_same_token_twice_in_a_batch_gives_one_instance(self, target: ConformanceTarget) -> None:
        request = target.request(cluster := target.new_cluster())
        first, second = target.boot(request, request)
        assert first == second, f"one token gave two instances in one batch: {first}, {second}"
        _assert_only(target, cluster, first)

    def test_the_same_token_from_many_threads_gives_one_instance(self, target: ConformanceTarget) -> None:
        request = target.request(cluster := target.new_cluster())
        answers = together([lambda: _persist(target, request)] * THREADS)
        assert len(set(answers)) == 1, f"one token gave several instances to concurrent calls: {sorted(set(answers))}"
        _assert_only(target, cluster, answers[0])

    def test_the_same_token_from_several_processes_gives_one_instance(self, target: ConformanceTarget) -> None:
        request = target.request(cluster := target.new_cluster())
        others, same = [target.another(), target.another()], target.ticketed([request])
        answers = [outcome for (outcome,) in together([partial(one.provision, same) for one in others])]
        ids = {outcome.instance_id for outcome in answers if outcome.error is None}
        assert ids, f"every one of the concurrent calls failed: {answers}"
        assert ids == {_persist(target, request)}, f"one token gave several instances to several processes: {ids}"
        _assert_only(target, cluster, next(iter(ids)))

    def test_the_token_of_an_instance_that_is_gone_gives_no_dead_instance(self, target: ConformanceTarget) -> None:
        request = target.request(cluster := target.new_cluster())
        (first,) = target.boot(request)
        target.destroy(filter(None, [target.instance(first)]))
        assert target.eventually(lambda: target.instance(first) is None), f"{first} was destroyed but never goes"
        (again,) = target.provision([request])
        if target.remembers_tokens:
            assert isinstance(again.error, TokenSpent), f"a spent token was not refused with TokenSpent: {again}"
        assert isinstance(again.error, TokenSpent | None), f"a spent token was refused otherwise: {again.error!r}"
        lives = again.instance_id and target.instance(again.instance_id)
        assert again.error or lives, f"the token gave {again.instance_id}, which is gone"
        target.clock.sleep(target.provider.listing_lag_seconds)
        listed = [one.id for one in target.listed(cluster)]
        assert listed == ([] if again.error else [again.instance_id]), f"{first} came back from the dead: {listed}"

    def test_a_token_with_other_parameters_makes_no_second_instance(self, target: ConformanceTarget) -> None:
        request = target.request(cluster := target.new_cluster())
        other = target.needs(target.other_machine, "has no other machine")
        (first,) = target.boot(request)
        (again,) = target.provision([replace(request, machine=other)])
        if target.minds_parameters:
            assert isinstance(again.error, TokenMismatch), f"other parameters were not refused: {again}"
        assert again.error is None or isinstance(again.error, TokenMismatch), f"not TokenMismatch: {again.error!r}"
        assert again.error is not None or again.instance_id == first, "one token stands for two instances"
        _assert_only(target, cluster, first)

    def test_one_refused_request_spoils_no_other(self, target: ConformanceTarget) -> None:
        cluster = target.new_cluster()
        image = target.needs(target.new_image, "only knows images that are there")()
        requests = [target.request(cluster, slot) for slot in range(3)]
        requests[1] = replace(requests[1], image=image)
        try:
            good, bad, also_good = target.provision(requests)
        except ProviderError as error:
            raise AssertionError(f"what one request is refused with is its outcome, not raised: {error!r}") from error
        assert isinstance(bad.error, ImageMissing), f"an image that is not published must be ImageMissing: {bad}"
        assert good.error is None and also_good.error is None, f"one bad request spoiled others: {good}, {also_good}"
        target.clock.sleep(target.provider.listing_lag_seconds)
        assert len(target.listed(cluster)) == 2, "the refused request left something behind, or a good one did not"

    def test_nothing_is_ever_seen_without_its_tags(self, target: ConformanceTarget) -> None:
        cluster = target.new_cluster()
        requests = [target.request(cluster, slot) for slot in range(5)]
        wanted = {request.token: dict(request.tags) for request in requests}
        watcher, stop, seen = target.another(), Event(), list[dict[str, str]]()
        untagged_before = sum(tags.CLUSTER not in found for found in target.all_tags()) if target.all_tags else 0

        def watch() -> None:
            while not stop.is_set():
                seen.extend(dict(instance.tags) for instance in watcher.describe(cluster))
                everywhere = [dict(found) for found in target.all_tags()] if target.all_tags else []
                seen.extend(found for found in everywhere if found.get(tags.CLUSTER) == cluster)
                untagged = [found for found in everywhere if tags.CLUSTER not in found]
                seen.extend(untagged[untagged_before:])

        thread = Thread(target=watch)
        thread.start()
        try:
            for request in requests:
                target.boot(request)
        finally:
            stop.set()
            thread.join()
        partly = [found for found in seen if found != wanted.get(found.get(tags.TOKEN, ""))]
        assert not partly, f"tags were written after the machine was made; in between it had {partly[0]}"

    def test_user_data_is_shown_nowhere(self, target: ConformanceTarget) -> None:
        request = replace(target.request(cluster := target.new_cluster()), user_data=SECRET)
        (id_,) = target.boot(request)
        target.clock.sleep(target.provider.listing_lag_seconds)
        shown = repr((request, target.instance(id_), target.listed(cluster)))
        assert SECRET.decode() not in shown, "user data shows in an instance's tags, detail or facts"

    def test_a_lost_reply_is_repaired_by_repeating(self, target: ConformanceTarget) -> None:
        request = target.request(cluster := target.new_cluster())
        target.needs(target.lose_reply, "cannot lose a reply")()
        lost = _attempt(target, request)
        assert lost.error and lost.error.retryable, f"a lost reply must be a retryable error: {lost}"
        _assert_only(target, cluster, _persist(target, request))

    def test_a_creation_cut_short_is_finished_by_repeating(self, target: ConformanceTarget) -> None:
        request = target.request(cluster := target.new_cluster())
        target.needs(target.cut_short, "cannot cut a creation short")()
        _attempt(target, request)
        target.clock.sleep(target.provider.listing_lag_seconds)
        wrong = [one for one in target.listed(cluster) if dict(one.tags) != request.tags]
        assert not wrong, f"what was cut short lies about without its tags: {wrong}"
        id_ = _persist(target, request)
        assert target.eventually(lambda: _state(target, id_) is InstanceState.RUNNING), f"{id_} was never finished"
        _assert_only(target, cluster, id_)


def _attempt(target: ConformanceTarget, request: ProvisionRequest) -> Outcome:
    """Provision, with an error of the whole call as the outcome."""
    try:
        (outcome,) = target.provision([request])
    except ProviderError as error:
        return Outcome(error=error)
    return outcome


def _persist(target: ConformanceTarget, request: ProvisionRequest) -> InstanceId:
    """Provision until it is accepted, as the engine would: again whatever is retryable."""
    outcome = Outcome()

    def accepted() -> bool:
        nonlocal outcome
        outcome = _attempt(target, request)
        assert outcome.error is None or outcome.error.retryable, f"refused for good: {outcome.error!r}"
        return outcome.error is None

    assert target.eventually(accepted), f"never accepted: {outcome.error!r}"
    assert outcome.instance_id, "accepted, but no instance named"
    return outcome.instance_id


def _state(target: ConformanceTarget, instance_id: InstanceId) -> InstanceState | None:
    found = target.instance(instance_id)
    return found.state if found else None


def _assert_only(target: ConformanceTarget, cluster: str, instance_id: InstanceId | None) -> None:
    target.clock.sleep(target.provider.listing_lag_seconds)
    listed = [instance.id for instance in target.listed(cluster)]
    assert listed == [instance_id], f"there must be one instance, {instance_id}, and there are {listed}"
