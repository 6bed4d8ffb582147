"""A controller that follows a branch, on real machines: what is pushed is rolled out, what is broken is refused."""

import hmac
import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import yaml

from tests.cli.shell import eventually
from tests.real.operator import Controller, Hypervisor, Operator, polled, wait_for

pytestmark = pytest.mark.real

SECRET: Final = "the-secret-of-the-webhook"
TOKEN: Final = "a-token-that-may-read-and-write"
WHO: Final = ("-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
GROUP: Final[Mapping[str, object]] = {
    "size": 2,
    "health": {"http": {"port": 8080, "path": "/health"}, "interval": "500ms", "timeout": "3s", "grace": "120s"},
    "rollout": {"max_surge": 2, "max_unavailable": 0},
}


@dataclass(frozen=True)
class Branch:
    """A bare repository, a clone in which somebody works, and the terminal of the controller that follows it."""

    operator: Operator

    @property
    def bare(self) -> Path:
        return self.operator.directory / "ops.git"

    @property
    def clone(self) -> Path:
        return self.operator.directory / "clone"

    @property
    def file(self) -> Path:
        return self.clone / "clusters" / "shop.yml"

    def git(self, *arguments: str) -> str:
        command = ["git", *WHO, "-C", str(self.clone), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def push(self, image: str) -> str:
        """Push a version, and return its commit."""
        self.operator.write(web={**GROUP, "image": image})
        self.file.parent.mkdir(exist_ok=True)
        self.file.write_text(self.operator.file.read_text())
        return self.committed(f"version {image}")

    def push_broken(self) -> tuple[str, str]:
        """Push a mistake. Return the commit, and where the mistake is."""
        lines = self.file.read_text().splitlines()
        number = next(number for number, line in enumerate(lines) if line.strip() == "size: 2")
        lines[number] = lines[number].replace("size: 2", "size: -2")
        self.file.write_text("\n".join(lines) + "\n")
        place = f"clusters/shop.yml:{number + 1}:{lines[number].index('-2') + 1}"
        return self.committed("a mistake"), place

    def committed(self, text: str) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", text)
        return self.pushed()

    def pushed(self) -> str:
        self.git("push", "-q", "origin", "HEAD:main")
        return self.git("rev-parse", "HEAD")[:12]

    @contextmanager
    def followed(self) -> Iterator[Controller]:
        """Let a controller follow it that asks for itself only once an hour."""
        directory = self.operator.directory
        for name, content in (("tokens", f"someone write {TOKEN}\n"), ("hook", SECRET), ("token", TOKEN)):
            (directory / name).write_text(content)
            (directory / name).chmod(0o600)
        config = {
            "apiVersion": "infrakit-py/v1alpha1",
            "kind": "Controller",
            "sources": {"git": {"url": str(self.bare), "paths": ["clusters"], "poll": "1h"}},
            "api": {"listen": "127.0.0.1:0", "tokens": "tokens", "webhook_secret_file": "hook"},
        }
        (directory / "controller.yml").write_text(yaml.safe_dump(config))
        command = self.operator.command("controller", "--config", str(directory / "controller.yml"))[:-1]
        with (directory / "controller.out").open("w") as file:
            process = self.operator.host.popen(
                command, env=self.operator.environment, stdout=file, stderr=subprocess.STDOUT
            )
        controller = Controller(process, directory / "controller.out")
        try:
            yield controller
        finally:
            controller.kill()
            print(controller.said)


@pytest.fixture
def branch(operator: Operator) -> Branch:
    made = Branch(operator)
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(made.bare)], check=True)
    subprocess.run(["git", "clone", "-q", str(made.bare), str(made.clone)], check=True, capture_output=True)
    return made


def test_what_is_pushed_is_rolled_out_what_is_broken_is_refused_and_what_is_reverted_is_good_again(
    branch: Branch, hypervisor: Hypervisor
) -> None:
    operator = branch.operator
    first = branch.push("v1")
    with branch.followed() as controller:
        controller.says(f"in force   commit {first}")
        controller.says("2 of 2 ready")
        assert versions(operator) == ["v1", "v1"]

        with polled(operator.host, hypervisor) as seen:
            wait_for(seen.counts)
            second = branch.push("v2")
            call(operator, controller, "wrong secret", 401)
            assert second not in controller.said
            call(operator, controller, SECRET, 202)
            controller.says(f"in force   commit {second}")
            controller.says("2 of 2 ready", times=2)
            assert versions(operator) == ["v2", "v2"]
            new = hypervisor.images()

            broken, place = branch.push_broken()
            call(operator, controller, SECRET, 202)
            controller.says(f"refused    commit {broken} (a mistake); {second} stays in force")
            controller.says(place)
            source = status_of_source(operator, controller)
            assert source["in_force"].startswith(second)
            assert place in source["refusal"]["reason"]
            assert place in asked(operator, controller, "status")

            branch.git("revert", "--no-edit", "HEAD")
            reverted = branch.pushed()
            call(operator, controller, SECRET, 202)
            controller.says(f"in force   commit {reverted}")
            eventually(
                lambda: status_of_source(operator, controller)["refusal"] is None, "nothing is refused any more"
            )
            assert status_of_source(operator, controller)["in_force"].startswith(reverted)
            assert hypervisor.images() == new
            assert versions(operator) == ["v2", "v2"]
        assert controller.stop() == 0
    print("answers in each sweep:", *seen.counts)
    assert min(seen.counts) >= 2, "two machines answer at any time"


def versions(operator: Operator) -> list[str]:
    return sorted(page["version"] for page in operator.pages())


def url(controller: Controller) -> str:
    controller.says("listening")
    return next(line.split()[-1] for line in controller.said.splitlines() if "listening" in line)


def asked(operator: Operator, controller: Controller, command: str, *arguments: str) -> str:
    """Run a command that asks the controller, and return what it says."""
    words = operator.command(command, "--server", url(controller), "--token-file", "token", *arguments)[:-1]
    done = subprocess.run(
        operator.host.command_inside(words),
        env=operator.environment,
        cwd=operator.directory,
        capture_output=True,
        text=True,
        timeout=60.0,
        check=False,
    )
    assert done.returncode == 0, done
    return done.stdout


def status_of_source(operator: Operator, controller: Controller) -> dict[str, Any]:
    (source,) = json.loads(asked(operator, controller, "status", "--json"))["sources"]
    found: dict[str, Any] = source
    return found


def call(operator: Operator, controller: Controller, secret: str, expected: int) -> None:
    """Tell the controller of a push, as a Git host does."""
    body = b'{"ref": "refs/heads/main"}'
    signature = "sha256=" + hmac.new(secret.encode(), body, "sha256").hexdigest()
    address = urlsplit(url(controller)).netloc

    def post() -> int:
        connection = HTTPConnection(address, timeout=30.0)
        try:
            connection.request("POST", "/webhooks/git", body, {"X-Hub-Signature-256": signature})
            return connection.getresponse().status
        finally:
            connection.close()

    assert operator.host.call_inside(post) == expected
