"""The file that sets a controller up: every key arrives, every mistake has its place, no secret is shown."""

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from infrakit_py.errors import SpecError
from infrakit_py.loading.controller_file import is_loopback, load_controller, split_listen
from infrakit_py.loading.schema import controller_schema
from infrakit_py.model.controller import ApiAddress, ControllerSettings, EtcdAddress, GitSource, LogFormat

HEAD = "apiVersion: infrakit-py/v1alpha1\nkind: Controller\n"
FILES = "sources: {files: [clusters]}\n"


def read(directory: Path, text: str, **environment: str) -> ControllerSettings:
    file = directory / "controller.yml"
    file.write_text(HEAD + text)
    return load_controller(file, environment, "here")


def mistakes(directory: Path, text: str, **environment: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        read(directory, text, **environment)
    return [f"{problem.line}:{problem.column} {problem.message}" for problem in caught.value.problems]


def test_the_least_of_it_follows_files_beside_it(tmp_path: Path) -> None:
    settings = read(tmp_path, FILES)

    assert settings == ControllerSettings("here", files=(tmp_path / "clusters",), log_level="info")


def test_every_key_arrives(tmp_path: Path) -> None:
    (tmp_path / "hook").write_text("s3cret\nsecond line\n")
    (tmp_path / "password").write_text("pa55\n")
    settings = read(
        tmp_path,
        """
name: ${env:POD}
sources:
  git: {url: https://git.example.com/ops.git, branch: live, paths: [a, b.yml], poll: 10s, allowed_signers: signers}
  prune: true
store:
  etcd:
    endpoints: [https://one:2379, https://two:2379]
    prefix: infra
    ttl: 5s
    ca: ca.pem
    cert: me.pem
    key: me.key
    username: infra
    password_file: password
api:
  listen: "[::]:7180"
  tls: {cert: tls.pem, key: tls.key}
  tokens: tokens
  webhook_secret_file: hook
  advertise: https://infra.example.com
audit_log: /var/log/audit.jsonl
log: {level: debug, format: json}
parallelism: 20
allow_mass_destroy: true
traces: {otlp: "http://127.0.0.1:4318"}
""",
        POD="c-0",
    )

    assert settings == ControllerSettings(
        name="c-0",
        git=GitSource(
            "https://git.example.com/ops.git", "live", (Path("a"), Path("b.yml")), 10.0, tmp_path / "signers"
        ),
        prune=True,
        etcd=EtcdAddress(
            ("https://one:2379", "https://two:2379"),
            "/infra",
            5.0,
            tmp_path / "ca.pem",
            tmp_path / "me.pem",
            tmp_path / "me.key",
            "infra",
            "pa55",
        ),
        api=ApiAddress(
            "::",
            7180,
            tmp_path / "tls.pem",
            tmp_path / "tls.key",
            tmp_path / "tokens",
            "s3cret",
            "https://infra.example.com",
        ),
        audit_log=Path("/var/log/audit.jsonl"),
        log_level="debug",
        log_format=LogFormat.JSON,
        parallelism=20,
        allow_mass_destroy=True,
        traces="http://127.0.0.1:4318",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("", ["1:1 nothing to do: neither sources nor api"], id="nothing"),
        pytest.param("sorces: {}\n", ["3:1 unknown key 'sorces'; did you mean 'sources'?"], id="unknown key"),
        pytest.param(
            "sources: {files: [a], git: {url: u}}\n", ["3:1 sources: files or git, not both"], id="two sources"
        ),
        pytest.param("sources: {git: {}}\n", ["3:11 sources.git: missing key 'url'"], id="no url"),
        pytest.param(
            FILES + "store: {etcd: {endpoints: [localhost:2379], ttl: 1s}}\n",
            [
                "4:28 store.etcd.endpoints[0]: must be a URL such as https://etcd-1.example.com:2379, without path "
                "and password (got 'localhost:2379')",
                "4:50 store.etcd.ttl: must be at least 2s: a controller must live through a slow answer (got '1s')",
            ],
            id="etcd",
        ),
        pytest.param(
            FILES + "store: {etcd: {endpoints: [http://a:1], cert: c, username: u}}\n",
            [
                "4:9 store.etcd: cert and key go together",
                "4:9 store.etcd: username and password_file go together",
            ],
            id="halves",
        ),
        pytest.param(
            FILES + "api: {listen: 7180}\n",
            ["4:15 api.listen: must be text; put quotes around it (got 7180)"],
            id="port",
        ),
        pytest.param(
            "api: {listen: 0.0.0.0:7180}\n",
            [
                "3:7 api.listen: others reach this address, so that tokens are needed: everybody could read and "
                "nobody write"
            ],
            id="open to all",
        ),
        pytest.param(
            "api: {listen: 0.0.0.0:7180, tokens: t}\n",
            [
                "3:7 api.listen: others reach this address, so that TLS is needed (or insecure: true, where a proxy "
                "before it has that)"
            ],
            id="in the clear",
        ),
        pytest.param(
            "api: {webhook_secret_file: none}\n",
            ["3:28 api.webhook_secret_file: cannot be read: No such file or directory (got 'none')"],
            id="no secret there",
        ),
        pytest.param(
            FILES + "name: ${env:NAME}\n",
            ["4:7 name: the environment variable NAME is not set; set it, or write ${env:NAME:-default}"],
            id="variable",
        ),
    ],
)
def test_every_mistake_has_its_place(text: str, said: list[str], tmp_path: Path) -> None:
    assert mistakes(tmp_path, text) == said


@pytest.mark.parametrize("written", ["127.0.0.1:7180", "localhost:0", "[::1]:65535", "infra.example.com:443"])
def test_an_address_is_host_and_port(written: str) -> None:
    host, port = split_listen(written)
    assert f"[{host}]:{port}" == written if ":" in host else f"{host}:{port}" == written


@pytest.mark.parametrize("written", ["7180", ":7180", "::1:7180", "host:", "host:port", "a b:1", ""])
def test_what_is_no_address_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="must be HOST:PORT"):
        split_listen(written)


@pytest.mark.parametrize(
    ("host", "only_here"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_who_reaches_an_address_is_known(host: str, only_here: bool) -> None:
    assert is_loopback(host) is only_here


def test_the_schema_for_editors_takes_what_is_valid_and_refuses_what_is_not() -> None:
    schema = Draft202012Validator(controller_schema())
    valid = {
        "apiVersion": "infrakit-py/v1alpha1",
        "kind": "Controller",
        "name": "${env:POD}",
        "sources": {"git": {"url": "https://git.example.com/ops.git", "poll": "30s"}},
        "api": {"listen": "127.0.0.1:7180"},
    }

    schema.validate(valid)
    assert not schema.is_valid({**valid, "sorces": {}})
    assert not schema.is_valid({**valid, "sources": {"git": {"poll": "30"}}})
