"""Where a controller is, as users write it: nothing is sent where a token could be read by others."""

from pathlib import Path

import pytest

from infrakit_py.errors import UsageError
from infrakit_py.remote.address import address, read_token

SECRET = "s3cret-token"


@pytest.mark.parametrize(
    "url",
    [
        "https://infra.example.com",
        "https://infra.example.com:7180/behind/a/proxy",
        "http://127.0.0.1:7180",
        "http://[::1]:1",
    ],
)
def test_an_address_is_taken_as_it_is_written(url: str) -> None:
    assert address(url).url == url
    assert address(f"{url}/").url == url


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("infra.example.com", "must begin with http:// or https://"),
        ("ftp://infra.example.com", "must begin with http:// or https://"),
        ("https://", "and a host"),
        ("https://[::1", "is no URL"),
        ("https://infra:99999", "is no URL"),
        (f"https://me:{SECRET}@infra", "a user or a password"),
        (f"https://infra?token={SECRET}", "nothing but a host, a port and a path"),
        ("https://infra/#x", "nothing but a host"),
        ("https://infra/a b", "nothing but a host"),
        ("https://infra/\r\nX: y", "nothing but a host"),
    ],
)
def test_what_is_no_address_is_refused_without_showing_a_secret(url: str, why: str) -> None:
    with pytest.raises(UsageError, match=why) as caught:
        address(url)
    assert SECRET not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("url", ["http://infra.example.com", "http://10.0.0.1:7180", "http://127.0.0.1.example.com"])
def test_a_token_goes_by_https_only(url: str) -> None:
    assert address(url).token == ""
    with pytest.raises(UsageError, match="by https only"):
        address(url, token=SECRET)


@pytest.mark.parametrize("url", ["http://127.0.0.1:7180", "http://localhost", "http://[::1]", "https://infra"])
def test_a_token_goes_to_this_machine_and_by_https(url: str) -> None:
    found = address(url, token=SECRET)
    assert found.token == SECRET
    assert SECRET not in repr(found)


@pytest.mark.parametrize("token", ["two words", "a\nb", "ä", "x" * 5000], ids=["two", "line", "no ASCII", "long"])
def test_what_is_no_token_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(UsageError) as caught:
        address("https://infra", token=token)
    assert token not in str(caught.value)


def test_a_token_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{SECRET}\n")
    assert read_token(file) == SECRET


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "holds 0"), (b"alice write " + SECRET.encode(), "holds 3"), (b"\xff", "it is not text")],
    ids=["empty", "the server's file", "binary"],
)
def test_a_file_that_holds_no_token_is_refused_and_not_shown(content: bytes, why: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=why) as caught:
        read_token(file)
    assert SECRET not in str(caught.value)
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_token(tmp_path / "missing")
