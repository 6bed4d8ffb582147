"""No token, no secret and no user data in what is logged, whatever goes wrong."""

from pathlib import Path

import pytest

from infrakit_py.api.server import RunningServer
from infrakit_py.errors import SpecError
from tests.api.asking import READER, WRITER, Asking
from tests.api.site import SECRET_DATA, SHOP, Broken, Site

GUESS = "guessed-token-0123456789"
SECRET = "a secret of two parties"


def test_nothing_secret_is_logged(
    api: Asking, server: RunningServer, site: Site, capfd: pytest.CaptureFixture[str]
) -> None:
    writer = api.to(WRITER)
    yaml = {"Content-Type": "application/yaml"}
    for failure in (None, Broken("no room")):
        site.failure = failure
        writer.ask("POST", "/v1/apply", SHOP.encode(), yaml)
        writer.ask("POST", "/v1/apply", SHOP.replace("size: 3", "size: x").encode(), yaml)
        writer.post("/v1/apply", {"files": {"a.yml": SHOP}, "main": [SECRET_DATA]})
        writer.post("/v1/clusters/shop/rollout/pause", {"reason": 7, SECRET_DATA: 1})
        api.to(GUESS).get("/v1/clusters")
        api.get("/v1/clusters")
        api.to("").ask("POST", "/webhooks/git", b"{}", {"X-Gitlab-Token": SECRET})
        api.to("").ask("POST", "/webhooks/git", b"{}", {"X-Gitlab-Token": GUESS})
    site.failure = ZeroDivisionError("a bug")
    writer.ask("POST", "/v1/apply", SHOP.encode(), yaml)

    logged = capfd.readouterr()

    assert "api.bug" in logged.out + logged.err
    for secret in (WRITER, READER, GUESS, SECRET, SECRET_DATA):
        assert secret not in logged.out + logged.err


def test_a_line_with_a_token_is_named_without_it(server: RunningServer, tokens: Path) -> None:
    tokens.write_text(f"anna {WRITER} write\n")

    with pytest.raises(SpecError) as caught:
        server.reload()

    assert WRITER not in str(caught.value)
