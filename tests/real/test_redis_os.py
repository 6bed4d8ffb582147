"""Three machines that are Redis servers, rolled from one version to the next while clients write and read."""

import shlex
from itertools import combinations, product
from pathlib import Path

import pytest

from tests import linuxkit
from tests.images.programs import LIBRARIES, find_program
from tests.real.conftest import EXAMPLES, Example
from tests.real.operator import Hypervisor, Operator
from tests.real.readme import follow
from tests.real.redis_clients import Member, ask, asked

pytestmark = pytest.mark.real

MEMBERS = ["redis-1", "redis-2", "redis-3"]
CHANGE = "sed -i"
OVERLAP_SECONDS = 0.5
"""How long two members may seem to be away: a PING may be under way when its server goes, just after another came."""


def test_redis_is_rolled_while_clients_write_and_no_acknowledged_write_is_lost(
    example: Example, hypervisor: Hypervisor, tmp_path: Path
) -> None:
    operator = example("redis-os", {"REDIS_MEMORY": "160MiB"}).put_first_on_path(redis_cli(tmp_path / "tools"))
    steps = follow(operator, EXAMPLES / "redis-os" / "README.md")
    for step in steps:
        if step.command.startswith(CHANGE):
            break
    addresses, disks, machines = addresses_of(operator), data_disks(hypervisor), hypervisor.images()
    assert policies(operator, addresses) == {b"noeviction"}

    with asked(operator.host, addresses) as members:
        for step in steps:
            if step.command.startswith("infra destroy"):
                break

    print({name: (len(m.answered), m.outages, len(m.written)) for name, m in members.items()})
    assert addresses_of(operator) == addresses, "members keep their names and addresses"
    assert data_disks(hypervisor) == disks
    assert len(disks) == 3
    assert machines.keys().isdisjoint(hypervisor.images()), "all machines were replaced"
    assert len(set(hypervisor.images().values())) == 1
    assert policies(operator, addresses) == {b"allkeys-lru"}, "the new version runs"
    assert len(linuxkit.builds(tmp_path)) == 2
    assert_one_at_a_time(members)
    assert_nothing_lost(operator, members)
    for _ in steps:
        pass
    assert hypervisor.domains() == []


def assert_one_at_a_time(members: dict[str, Member]) -> None:
    """At every moment at least two of three answered PING."""
    assert all(member.outages for member in members.values()), "each was replaced, and its client noticed"
    for one, other in combinations(members.values(), 2):
        for (begin, end), (other_begin, other_end) in product(one.outages, other.outages):
            assert min(end, other_end) - max(begin, other_begin) < OVERLAP_SECONDS
    assert all(len(member.answered) > 50 for member in members.values())


def assert_nothing_lost(operator: Operator, members: dict[str, Member]) -> None:
    for name, member in members.items():
        assert member.wrong == [], name
        before = [key for key, at in zip(member.written, member.answered, strict=False) if at < member.refused[0]]
        assert len(before) > 5, "there were writes before the machine went"
        keys = list(member.written)
        (found,) = ask(operator.host, member.address, [("MGET", *keys)])
        assert found == [value.encode() for value in member.written.values()], name


def addresses_of(operator: Operator) -> dict[str, str]:
    addresses = {machine["machine"]: machine["addresses"][0] for machine in operator.machines("redis")}
    assert sorted(addresses) == MEMBERS
    return addresses


def policies(operator: Operator, addresses: dict[str, str]) -> set[object]:
    """Return how each server says that it was configured by its image; all must have their user data as well."""
    found: set[object] = set()
    for address in addresses.values():
        policy, memory = ask(
            operator.host, address, [("CONFIG", "GET", "maxmemory-policy"), ("CONFIG", "GET", "maxmemory")]
        )
        assert memory == [b"maxmemory", str(64 * 2**20).encode()]
        assert isinstance(policy, list)
        found.add(policy[1])
    return found


def data_disks(hypervisor: Hypervisor) -> set[str]:
    return {name for name in hypervisor.volumes() if "data" in name}


def redis_cli(directory: Path) -> Path:
    """Put Debian's redis-cli with its libraries into a directory and return it: nothing need be installed."""
    program = find_program("redis-tools", "usr/bin/redis-cli")
    files = {"redis-cli.bin": program.content, **program.libraries}
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o755)
    loader = next(name for name in program.libraries if Path(name).name.startswith("ld-"))
    words = [directory / loader, "--library-path", directory / LIBRARIES, directory / "redis-cli.bin"]
    script = directory / "redis-cli"
    script.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, words))} "$@"\n')
    script.chmod(0o755)
    return directory
