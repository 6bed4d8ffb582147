"""The suite catches who breaks the contract, sentence by sentence, and passes who does not."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from infrakit_py.clock import VirtualClock
from infrakit_py.model.spec import Json
from infrakit_py.testing.conformance import ProviderConformance
from tests.conformance import broken_providers as broken
from tests.conformance.simulated_target import simulated_target

SETTINGS: Mapping[str, Json] = {"boot_time": "5s", "listing_lag": "3s", "destroy_time": "5s", "gone_listed_for": "1m"}
WITHIN_SECONDS = 20

CAUGHT = [
    (broken.WritesTagsLater, "test_nothing_is_ever_seen_without_its_tags"),
    (broken.MatchesPrefixes, "test_describe_returns_nothing_of_other_clusters"),
    (broken.MatchesAMissingKey, "test_an_instance_without_the_tag_is_never_returned"),
    (broken.ShowsOneGroupOnly, "test_describe_returns_all_groups_of_a_cluster"),
    (broken.HidesItsLag, "test_an_accepted_machine_is_listed_within_the_lag"),
    (broken.LooksUpInTheListing, "test_lookup_sees_a_new_instance_past_any_lag"),
    (broken.ForgetsTokens, "test_the_same_token_gives_the_same_instance"),
    (broken.ForgetsTokens, "test_the_same_token_twice_in_a_batch_gives_one_instance"),
    (broken.ForgetsTokens, "test_the_same_token_from_many_threads_gives_one_instance"),
    (broken.ForgetsTokens, "test_the_token_of_an_instance_that_is_gone_gives_no_dead_instance"),
    (broken.ForgetsTokens, "test_a_lost_reply_is_repaired_by_repeating"),
    (broken.ForgetsTokens, "test_a_creation_cut_short_is_finished_by_repeating"),
    (broken.RemembersTokensByItself, "test_the_same_token_from_several_processes_gives_one_instance"),
    (broken.TurnsOutcomesAround, "test_provision_answers_each_request_in_order"),
    (broken.TurnsEndsAround, "test_one_refused_request_spoils_no_other_of_a_batch"),
    (broken.RaisesForOne, "test_one_refused_request_spoils_no_other"),
    (broken.LetsOneBadIdSpoilTheBatch, "test_one_refused_request_spoils_no_other_of_a_batch"),
    (broken.DestroysWhatItIsTold, "test_a_foreign_machine_is_not_destroyed"),
    (broken.DestroysWhatItIsTold, "test_what_is_not_ours_is_not_destroyed"),
    (broken.DestroysAcrossGroups, "test_what_is_not_ours_is_not_destroyed"),
    (broken.FailsForTheGone, "test_destroying_again_is_a_success"),
    (broken.OnlyClaimsToDestroy, "test_destroyed_instances_go"),
    (broken.AsciiTags, "test_tags_come_back_exactly"),
    (broken.ShortTags, "test_tags_come_back_exactly"),
    (broken.ReplacesAllTags, "test_tags_are_set_and_removed_however_often"),
    (broken.TagsAnything, "test_tag_leaves_machines_of_others_alone"),
    (broken.TagsAnything, "test_tag_refuses_a_foreign_machine"),
    (broken.RevivesTheDead, "test_the_token_of_an_instance_that_is_gone_gives_no_dead_instance"),
    (broken.MakesAnotherForOtherParameters, "test_a_token_with_other_parameters_makes_no_second_instance"),
    (broken.ShowsUserData, "test_user_data_is_shown_nowhere"),
    (broken.TellsMilliseconds, "test_an_accepted_machine_is_on_its_way_and_comes_to_run"),
    (broken.CallsTheStoppedRunning, "test_a_machine_that_stops_is_reported_as_stopped"),
    (broken.CallsEverythingPublished, "test_an_image_is_published_once_it_was_made_so"),
    (broken.GivesAllOneDisk, "test_a_data_disk_outlives_its_machine_and_finds_the_next"),
    (broken.GivesEachMachineADisk, "test_a_data_disk_outlives_its_machine_and_finds_the_next"),
    (broken.SweepsWhatIsUsed, "test_a_data_disk_in_use_is_not_swept"),
    (broken.SweepsWhatIsUsed, "test_an_image_in_use_is_not_swept"),
    (broken.OnlyClaimsToUnpublish, "test_a_publication_is_listed_as_long_as_it_is_there"),
    (broken.OnlyClaimsToUnpublish, "test_a_publication_in_use_is_not_deleted"),
    (broken.TakesAllForUnused, "test_a_publication_in_use_is_not_deleted"),
]
ALL_TESTS = sorted(name for name in dir(ProviderConformance) if name.startswith("test_"))


def _run(provider: type[broken.Honest], test: str, directory: Path) -> None:
    with simulated_target(directory, VirtualClock(), SETTINGS, WITHIN_SECONDS, provider) as target:
        getattr(ProviderConformance(), test)(target)


@pytest.mark.parametrize(("provider", "test"), CAUGHT, ids=[f"{one.__name__}-{test[5:]}" for one, test in CAUGHT])
def test_the_suite_catches(provider: type[broken.Honest], test: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError) as caught:
        _run(provider, test, tmp_path)
    print(caught.value)


@pytest.mark.parametrize("test", [name for name in ALL_TESTS if "probe" not in name])
def test_the_suite_passes_who_keeps_the_contract(test: str, tmp_path: Path) -> None:
    _run(broken.Honest, test, tmp_path)
