"""Numbers, times and images in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrakit_py.model.quantities import parse_duration
from infrakit_py.model.spec import Image, ImageForm
from infrakit_py.render.words import ImageNames, counted, moment, roughly


def image(name: str, identity: str) -> Image:
    return Image(name, identity * 64, ImageForm.REFERENCE, reference=name)


A, B, C = (letter * 12 for letter in "abc")


@pytest.mark.parametrize(("number", "words"), [(0, "0 machines"), (1, "1 machine"), (2, "2 machines")])
def test_one_is_not_many(number: int, words: str) -> None:
    assert counted(number, "machine") == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "1s"),
        (0.3, "1s"),
        (7.2, "8s"),
        (41, "45s"),
        (90, "1m30s"),
        (125, "2m30s"),
        (601, "11m"),
        (7300, "2h10m"),
    ],
)
def test_an_estimate_is_as_coarse_as_it_is_uncertain(seconds: float, words: str) -> None:
    assert roughly(seconds) == words


@given(st.floats(0, 1e6))
def test_an_estimate_never_says_less_than_it_is_nor_much_more(seconds: float) -> None:
    said = parse_duration(roughly(seconds))
    assert seconds <= said <= max(1.0, seconds + 1, seconds * 1.25)


@pytest.mark.parametrize(("seconds", "words"), [(0.1, "100ms"), (0.96, "1s"), (1.1, "1s"), (90.4, "1m30s")])
def test_a_moment_is_told_to_the_second_where_that_is_enough(seconds: float, words: str) -> None:
    assert moment(seconds) == words


def test_identities_in_reasons_become_the_names_of_images() -> None:
    names = ImageNames([image("web-v1", "a"), image("web-v2", "b")])
    assert names.in_text(f"image {A} → {B}") == "image web-v1 → web-v2"
    assert names.of("a" * 64) == "web-v1"


def test_what_nobody_named_or_what_is_named_already_is_left_as_it_is() -> None:
    names = ImageNames([image("web-v1", "a")])
    assert names.in_text(f"image {C} → {A}") == f"image {C} → web-v1"
    assert names.in_text(f"image web-v1 ({A}) is not at sim yet") == f"image web-v1 ({A}) is not at sim yet"
    assert names.in_text(f"i-{A}5bcd and {A}a") == f"i-{A}5bcd and {A}a"
    assert names.of("c" * 64) == C
    assert names.of("") == ""


def test_two_images_of_one_name_are_told_apart() -> None:
    names = ImageNames([image("web", "a"), image("web", "b"), image("db", "c")])
    assert names.in_text(f"image {A} → {B}") == f"image web@{A} → web@{B}"
    assert names.of("c" * 64) == "db"


def reference(name: str, identity: str, reference: str) -> Image:
    return Image(name, identity * 64, ImageForm.REFERENCE, reference=reference)


def test_two_images_of_one_name_that_providers_have_are_called_as_those_call_them() -> None:
    names = ImageNames([reference("web", "a", "ami-1"), reference("web", "b", "ami-2"), image("db", "c")])
    assert names.in_text(f"image {A} → {B}") == "image ami-1 → ami-2"
    assert names.of("b" * 64) == "ami-2"
    assert names.of("c" * 64) == "db"


def test_a_reference_that_is_another_image_s_name_does_not_tell_two_apart() -> None:
    names = ImageNames([reference("web", "a", "ami-1"), reference("web", "b", "db"), image("db", "c")])
    assert names.in_text(f"image {A} → {B}, {C}") == f"image ami-1 → web@{B}, db"


def test_a_disk_of_the_same_name_is_still_told_by_its_identity() -> None:
    disk = Image("web", "a" * 64, ImageForm.DISK)
    assert ImageNames([disk, reference("web", "b", "ami-2")]).in_text(f"image {A} → {B}") == f"image web@{A} → ami-2"


def test_an_image_that_was_renamed_has_its_last_name() -> None:
    assert ImageNames([image("old", "a"), image("new", "a")]).of("a" * 64) == "new"
