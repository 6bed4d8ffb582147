"""Controllers die, hang, are cut off and stopped while versions roll out: each cluster has one at most that acts."""

import random
import time
from pathlib import Path

import pytest

from tests.ha.audit import above, below_floor, deeds, intrusions, overlaps, twins
from tests.ha.site import SURGE, Member, Site, site_of

pytestmark = [pytest.mark.crash, pytest.mark.slow]

CLUSTERS = 30
SIZE = 2
MEMBERS = 3
TTL_SECONDS = 3


def test_controllers_that_die_hang_and_are_cut_off_take_no_machine_with_them_and_none_acts_beside_another(
    tmp_path: Path,
) -> None:
    with site_of(tmp_path, CLUSTERS, SIZE, MEMBERS, TTL_SECONDS) as site:
        site.wait(lambda: site.converged("a1"), "everything is made")
        since = time.time()
        site.wait(lambda: site.is_divided, "each keeps its share")

        dead = site.leader
        site.push("a2")
        site.wait(lambda: 0 < site.made_of("a2") < SIZE * CLUSTERS, "a rollout of all clusters")
        dead.kill()
        site.push("a3")
        site.wait(lambda: site.leader is not dead, "another leader")
        hanging = site.leader
        site.wait(lambda: site.made_of("a3") > 0, "the leader's successor has read what it missed")
        with hanging.asleep():
            site.wait(lambda: not site.owners.owned(hanging.name), "the lease of who hangs has run out")
            dead.start()
            site.wait(lambda: bool(site.owners.owned(dead.name)), "who was killed is there again")
            site.wait(lambda: site.converged("a3"), "the others go on with its clusters")
            site.push("a1")
            site.wait(lambda: site.made_of("a1") > 0, "a rollout that who hangs has not heard of")
        (other,) = site.others(dead, hanging)
        site.wait(lambda: bool(site.owners.owned(hanging.name)), "who hung is there again")
        site.push("a2")
        with other.cut_off():
            site.wait(lambda: not site.owners.owned(other.name), "the lease of who is cut off has run out")
            site.wait(lambda: site.made_of("a2") > CLUSTERS, "the others go on with its clusters")
        site.wait(lambda: bool(site.owners.owned(other.name)), "who was cut off is there again")
        site.push("a3")
        site.wait(lambda: site.made_of("a3") > 0, "one more rollout")
        assert other.stop() == 0
        assert site.owners.owned(other.name) == []
        site.wait(lambda: site.converged("a3"), "everything is as it was declared last")
        check(site, since)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_to_controllers_in_whatever_order(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    with site_of(tmp_path, CLUSTERS, SIZE, MEMBERS, TTL_SECONDS) as site:
        site.wait(lambda: site.converged("a1"), "everything is made")
        since = time.time()
        for _ in range(12):
            site.push(chance.choice(("a1", "a2", "a3")), chance.sample(site.clusters, chance.randint(1, CLUSTERS)))
            time.sleep(chance.uniform(0.0, 3.0))  # in real time, as all that follows
            chance.choice((killed, hung, cut_off, stopped))(chance.choice([*site.members.values()]), chance)
            time.sleep(chance.uniform(0.0, 2.0))
        site.push("a2")
        site.wait(lambda: site.converged("a2"), "everything is as it was declared last")
        check(site, since)


def killed(member: Member, chance: random.Random) -> None:
    member.kill()
    time.sleep(chance.uniform(0.0, 2.0 * TTL_SECONDS))
    member.start()


def hung(member: Member, chance: random.Random) -> None:
    with member.asleep():
        time.sleep(chance.uniform(0.0, 2.0 * TTL_SECONDS))


def cut_off(member: Member, chance: random.Random) -> None:
    with member.cut_off():
        time.sleep(chance.uniform(0.0, 2.0 * TTL_SECONDS))


def stopped(member: Member, chance: random.Random) -> None:
    assert member.stop() == 0
    time.sleep(chance.uniform(0.0, TTL_SECONDS))
    member.start()


def check(site: Site, since: float) -> None:
    """Look at all that was done since everything was made first."""
    told = [one for member in site.members.values() for one in member.told()]
    pauses = [pause for member in site.members.values() for pause in member.pauses]
    done = deeds(site.ledger.changes(), told)
    reigns, lives = site.owners.reigns, site.ledger.lives()
    print(f"{len(done)} changes, {len(reigns)} owners, {len(lives)} machines")
    assert [act.change for act in done if not act.since] == [], "somebody else's doing"
    assert intrusions(done, reigns, pauses) == []
    assert overlaps(reigns) == []
    assert twins(lives) == []
    assert below_floor(lives, dict.fromkeys(site.clusters, SIZE), since) == []
    assert above(lives, dict.fromkeys(site.clusters, SIZE + SURGE)) == []
    tracebacks: list[str] = [member.name for member in site.members.values() if "Traceback" in member.said("err")]
    assert tracebacks == []
