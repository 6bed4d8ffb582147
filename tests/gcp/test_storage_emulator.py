"""A second opinion on Cloud Storage: what is done in a bucket is understood by somebody else's stand-in, too.

It knows no conditions on generations, so who may write over whom is shown on our own alone.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from gcp_storage_emulator.server import create_server  # type: ignore[import-untyped]  # it has no types

from infrakit_providers.gcp.bucket import Bucket
from infrakit_providers.gcp.clients import STORAGE_ENDPOINT_VARIABLE, Clients
from infrakit_providers.gcp.settings import Settings
from infrakit_providers.gcp.upload import CHUNK
from infrakit_py.clock import VirtualClock
from infrakit_py.model.spec import ImageFile
from tests.fakes.gce.auth import write_key_file
from tests.gcp.archives import archive_image
from tests.gcp.ground import SETTINGS

NAME = "images"


@pytest.fixture(name="emulator")
def _emulator() -> Iterator[Any]:
    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket=NAME)
    server.start()
    yield server
    server.stop()


@pytest.fixture(name="bucket")
def _bucket(emulator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    host, port = emulator._api._httpd.server_address[:2]
    key_file = tmp_path / "key.json"
    write_key_file(key_file, f"http://{host}:{port}")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key_file))
    monkeypatch.setenv(STORAGE_ENDPOINT_VARIABLE, f"http://{host}:{port}/storage/v1/")
    with closing(Clients(Settings.model_validate(SETTINGS), tmp_path)) as clients:
        yield Bucket(clients, VirtualClock(), NAME)


@pytest.mark.parametrize("noise", [300_000, 2 * CHUNK + 3_000_000], ids=["one part", "several parts"])
def test_an_object_holds_what_was_uploaded_until_it_is_deleted(
    bucket: Bucket, emulator: Any, noise: int, tmp_path: Path
) -> None:
    archive: ImageFile = archive_image(tmp_path / "web.tar.gz", noise=noise).files["disk"]
    told: list[int] = []
    assert bucket.find("infrakit/web.tar.gz") is None
    for _ in range(2):
        bucket.ensure("infrakit/web.tar.gz", archive, told.append)
    assert told[-1] == archive.size
    stored = emulator._api._storage.get_file(NAME, "infrakit/web.tar.gz")
    assert stored == Path(archive.path).read_bytes()
    [listed] = bucket.listed("infrakit/")
    assert listed == bucket.find("infrakit/web.tar.gz")
    assert listed.size == archive.size
    for _ in range(2):
        bucket.remove("infrakit/web.tar.gz")
    assert bucket.listed("infrakit/") == []
