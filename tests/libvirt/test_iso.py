"""The user data's ISO: the same bytes each time, and what readers expect of it."""

import io
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrakit_providers.libvirt.iso import LABEL, iso, user_data_iso

pycdlib = pytest.importorskip("pycdlib", reason="the other implementation is not installed")


def read(image: bytes) -> tuple[str, dict[str, bytes]]:
    """Return the label and the files of an image, as another implementation sees them."""
    reader = pycdlib.PyCdlib()
    reader.open_fp(io.BytesIO(image))
    with closing(reader):
        files = {}
        for child in reader.list_children(iso_path="/"):
            if not child.is_dir():
                content = io.BytesIO()
                name = child.file_identifier().decode()
                reader.get_file_from_iso_fp(content, iso_path=f"/{name}")
                files[name] = content.getvalue()
        return reader.pvd.volume_identifier.decode().strip(), files


@given(user_data=st.binary(max_size=10_000))
def test_another_implementation_reads_what_was_written(user_data: bytes) -> None:
    label, files = read(user_data_iso(user_data, instance_id="6f3d7c52", host_name="web-0"))
    assert label == LABEL == "CIDATA"
    assert files == {"user-data": user_data, "meta-data": b"instance-id: 6f3d7c52\nlocal-hostname: web-0\n"}


@given(user_data=st.binary(max_size=10_000))
def test_the_same_input_gives_the_same_bytes(user_data: bytes) -> None:
    first, second = (user_data_iso(user_data, instance_id="6f3d7c52", host_name="web-0") for _ in range(2))
    assert first == second


def test_a_machine_without_user_data_still_finds_the_file() -> None:
    _, files = read(user_data_iso(None, instance_id="6f3d7c52", host_name="web-0"))
    assert files["user-data"] == b""


@pytest.mark.parametrize("size", [0, 1, 2047, 2048, 2049, 3_000_000])
def test_the_image_is_whole_sectors_and_as_large_as_it_says(size: int) -> None:
    image = user_data_iso(b"x" * size, instance_id="6f3d7c52", host_name="web-0")
    assert len(image) % 2048 == 0
    assert int.from_bytes(image[16 * 2048 + 80 : 16 * 2048 + 84], "little") == len(image) // 2048


def test_more_files_than_one_directory_sector_are_refused() -> None:
    with pytest.raises(ValueError, match="directory sector"):
        iso({f"file-{number}": b"" for number in range(60)})
