"""What `deploy` holds is accepted by what reads it, and its parts agree with each other and with the program."""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from stat import S_IRWXO, S_IWGRP
from typing import Any

import pytest
import yaml

from infrakit_py.loading.controller_file import load_controller
from infrakit_py.model.controller import ControllerSettings, LogFormat
from infrakit_py.sources.mirror import TOKEN

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
MANIFEST = DEPLOY / "kubernetes" / "controller.yaml"
CONTAINER = DEPLOY / "container" / "Containerfile"
UNIT = DEPLOY / "systemd" / "infrakit-controller.service"
CONFIGURED = "/etc/infrakit-py"


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    installed = "/opt/infrakit-py/bin/infra"
    text = UNIT.read_text()
    assert f"ExecStart={installed} controller" in text
    unit = tmp_path / UNIT.name
    unit.write_text(text.replace(installed, str(Path(sys.executable).with_name("infra"))))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_example_of_a_configuration_is_a_whole_one(tmp_path: Path) -> None:
    settings = load_controller(DEPLOY / "controller.yml", {}, "c1")
    assert settings.files == (DEPLOY / "clusters",)
    assert settings.api is not None and settings.api.tokens == DEPLOY / "tokens"
    assert (settings.api.host, settings.log_format) == ("127.0.0.1", LogFormat.LOGFMT)


def test_what_the_example_leaves_out_may_be_put_in(tmp_path: Path) -> None:
    """Its comments hold the other source and the other store, as they are written."""
    lines = (DEPLOY / "controller.yml").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("  files:"))
    text = text.replace("#   git:", "  git:").replace("# store:\n#   etcd:", "store:\n  etcd:")
    (tmp_path / "controller.yml").write_text(text)
    settings = load_controller(tmp_path / "controller.yml", {}, "c1")
    assert settings.git is not None and settings.etcd is not None and settings.etcd.ttl_seconds == 15


def test_the_manifests_configuration_is_valid_with_the_files_and_the_environment_that_the_manifest_gives(
    tmp_path: Path,
) -> None:
    settings = in_the_pod(tmp_path)
    assert settings.name == "infrakit-controller-0"
    assert settings.etcd is not None and settings.api is not None and settings.git is not None
    assert settings.api.webhook_secret == "content of webhook"
    named = [settings.etcd.ca, settings.etcd.cert, settings.etcd.key]
    named += [settings.api.tls_cert, settings.api.tls_key, settings.api.tokens]
    assert all(file is not None and file.is_file() for file in named), named


def test_the_manifests_pods_are_told_apart_by_their_names() -> None:
    assert [one["name"] for one in container()["env"] if "fieldRef" in one.get("valueFrom", {})] == ["POD_NAME"]
    assert "name: ${env:POD_NAME}" in config()


def test_the_manifests_ports_are_those_that_the_api_listens_at(tmp_path: Path) -> None:
    settings = in_the_pod(tmp_path)
    assert settings.api is not None
    (port,) = container()["ports"]
    assert port["containerPort"] == settings.api.port == int(instruction("EXPOSE"))
    (service,) = of_kind("Service")
    (served,) = service["spec"]["ports"]
    assert (served["port"], served["targetPort"]) == (settings.api.port, port["name"])
    assert settings.api.advertise == f"https://{service['metadata']['name']}:{settings.api.port}"
    probes = [container()[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert {(probe["port"], probe["scheme"]) for probe in probes} == {(port["name"], "HTTPS")}
    assert [probe["path"] for probe in probes] == ["/healthz", "/healthz", "/readyz"]


def test_the_manifests_selectors_find_its_pods() -> None:
    (pods,) = of_kind("StatefulSet")
    labels = pods["spec"]["template"]["metadata"]["labels"]
    (service,), (budget,) = of_kind("Service"), of_kind("PodDisruptionBudget")
    assert service["spec"]["selector"] == labels
    assert pods["spec"]["selector"]["matchLabels"] == budget["spec"]["selector"]["matchLabels"] == labels
    assert pods["spec"]["serviceName"] == service["metadata"]["name"]
    (account,) = of_kind("ServiceAccount")
    assert pods["spec"]["template"]["spec"]["serviceAccountName"] == account["metadata"]["name"]


def test_every_volume_of_the_manifest_is_made_and_mounted() -> None:
    made = {volume["name"]: volume for volume in pod()["volumes"]}
    mounts = {mount["name"]: mount for mount in container()["volumeMounts"]}
    assert made.keys() == mounts.keys()
    (configuration,) = of_kind("ConfigMap")
    assert made["config"]["configMap"]["name"] == configuration["metadata"]["name"]
    assert mounts["config"]["subPath"] in configuration["data"]
    secrets = {volume["secret"]["secretName"] for volume in made.values() if "secret" in volume}
    assert secrets == {"controller-secrets", "controller-tls"}
    assert all(f" {name} " in MANIFEST.read_text() for name in secrets), "its head says how they are made"


def test_others_cannot_read_the_manifests_secrets_as_the_file_of_tokens_demands() -> None:
    modes = [volume["secret"]["defaultMode"] for volume in pod()["volumes"] if "secret" in volume]
    assert len(modes) == 2
    assert all(mode & (S_IRWXO | S_IWGRP) == 0 for mode in modes)


def test_container_and_manifest_agree_on_user_directories_and_configuration() -> None:
    environment = dict(re.findall(r"(INFRAKIT_\w+)=(\S+)", CONTAINER.read_text()))
    assert environment.keys() == {"INFRAKIT_STATE_DIR", "INFRAKIT_CACHE_DIR"}
    mounts = {mount["name"]: mount["mountPath"] for mount in container()["volumeMounts"]}
    assert mounts["state"] == environment["INFRAKIT_STATE_DIR"] == instruction("VOLUME")
    assert mounts["cache"] == environment["INFRAKIT_CACHE_DIR"]
    assert mounts["tmp"] == "/tmp" and container()["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod()["securityContext"]["runAsUser"] == int(instruction("USER"))
    assert f"--uid {instruction('USER')} " in CONTAINER.read_text()
    command = yaml.safe_load(instruction("CMD"))
    assert container()["args"][: len(command)] == command
    assert command[-1] == mounts["config"] == f"{CONFIGURED}/controller.yml"


def test_container_and_unit_install_extras_that_there_are() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for file in (CONTAINER, UNIT):
        (extras,) = re.findall(r"(?:/source|infrakit-py)\[([a-z,]+)\]", file.read_text())
        assert set(extras.split(",")) <= declared.keys()
        assert {"server", "etcd"} <= set(extras.split(","))


def test_every_variable_that_deploy_sets_is_one_that_the_program_reads() -> None:
    texts = [path.read_text() for path in DEPLOY.rglob("*") if path.is_file()]
    named = {name for text in texts for name in re.findall(r"INFRAKIT_\w+", text)}
    code = "\n".join(path.read_text() for path in (ROOT / "infrakit_py").rglob("*.py"))
    assert TOKEN in named
    assert {name for name in named if f'"{name}"' not in code} == set()


def in_the_pod(directory: Path) -> ControllerSettings:
    """Load the manifest's configuration where its files are those which its head has one make into secrets."""
    mounts = {mount["name"]: mount["mountPath"] for mount in container()["volumeMounts"]}
    for volume, names in (("secrets", re.findall(r"--from-file=(\S+)", head())), ("tls", ["tls.crt", "tls.key"])):
        for name in names:
            file = directory / mounts[volume].removeprefix("/") / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"content of {name}\n")
    path = directory / "controller.yml"
    path.write_text(config().replace(f"{CONFIGURED}/", f"{directory}{CONFIGURED}/"))
    return load_controller(path, {"POD_NAME": "infrakit-controller-0"}, "nobody")


def head() -> str:
    return "\n".join(line for line in MANIFEST.read_text().splitlines() if line.startswith("#"))


def of_kind(kind: str) -> list[Mapping[str, Any]]:
    return [one for one in documents() if one["kind"] == kind]


def documents() -> Iterator[Mapping[str, Any]]:
    yield from yaml.safe_load_all(MANIFEST.read_text())


def config() -> str:
    (configuration,) = of_kind("ConfigMap")
    return str(configuration["data"]["controller.yml"])


def pod() -> Mapping[str, Any]:
    (pods,) = of_kind("StatefulSet")
    found: Mapping[str, Any] = pods["spec"]["template"]["spec"]
    return found


def container() -> Mapping[str, Any]:
    (found,) = pod()["containers"]
    return dict(found)


def instruction(name: str) -> str:
    """Return what the last instruction of a kind in the container file says."""
    return str(re.findall(rf"^{name} (.*)$", CONTAINER.read_text(), re.MULTILINE)[-1])
