"""Calls of a Git host."""

import hmac

import pytest

from tests.api.asking import Answered, Asking
from tests.api.conftest import Serve
from tests.api.site import Site

SECRET = "a secret of two parties"
BODY = b'{"ref": "refs/heads/main"}'


def signature(body: bytes, secret: str = SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, "sha256").hexdigest()


def call(api: Asking, headers: dict[str, str], body: bytes = BODY) -> Answered:
    return api.to("").ask("POST", "/webhooks/git", body, {"Content-Type": "application/json", **headers})


@pytest.mark.parametrize(
    "headers", [{"X-Hub-Signature-256": signature(BODY)}, {"X-Gitlab-Token": SECRET}], ids=["signed", "GitLab"]
)
def test_a_call_of_the_git_host_makes_the_sources_be_looked_at(
    api: Asking, site: Site, headers: dict[str, str]
) -> None:
    assert call(api, headers).status == 202
    assert site.woken == 1


def test_a_form_is_as_good_as_json(api: Asking, site: Site) -> None:
    form = b"payload=%7B%7D"
    headers = {"Content-Type": "application/x-www-form-urlencoded", "X-Hub-Signature-256": signature(form)}

    assert call(api, headers, form).status == 202


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Hub-Signature-256": signature(b"something else")},
        {"X-Hub-Signature-256": signature(BODY, "another secret")},
        {"X-Hub-Signature-256": signature(BODY).removeprefix("sha256=")},
        {"X-Hub-Signature-256": ""},
        {"X-Gitlab-Token": ""},
        {"X-Gitlab-Token": SECRET[:-1]},
        {"X-Gitlab-Token": "\xe4"},
    ],
)
def test_any_other_call_does_nothing(api: Asking, site: Site, headers: dict[str, str]) -> None:
    assert call(api, headers).status == 401
    assert site.woken == 0


@pytest.mark.parametrize("headers", [{}, {"X-Gitlab-Token": ""}, {"X-Hub-Signature-256": signature(BODY, "")}])
def test_without_a_secret_there_is_no_webhook(serving: Serve, site: Site, headers: dict[str, str]) -> None:
    answer = call(Asking(serving().url), headers)

    assert (answer.status, answer.document["hint"]) == (404, "set api.webhook_secret_file")
    assert site.woken == 0
