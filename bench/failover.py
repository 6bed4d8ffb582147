"""How long nobody acts on a cluster once its controller is gone: real processes and a real etcd, a simulated cloud.

A machine dies in each cluster of the controller that goes, at that moment; what is measured is when the last of these
clusters has asked for another one. Nobody can be sooner than the lease lasts, unless the controller gives it up.
"""

import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.rows import Row
from infrakit_providers.simulated.cloud import SimCloud
from infrakit_providers.simulated.settings import SimSettings
from infrakit_py.clock import SystemClock
from tests.ha.ledger import What
from tests.ha.site import Member, Site, site_of

CLUSTERS: Final = 20
SIZE: Final = 6
MEMBERS: Final = 3


def failing_over(runs: int = 5) -> Iterator[Row]:
    """(n) From the end of a controller to the first act of others on each of its clusters, in lives of a lease."""
    if shutil.which("etcd") is None:
        yield Row("(n) fail-over", "-", "-", "-", "etcd is not installed")
        return
    for ttl_seconds, count in ((3, runs), (15, 2)):
        killed, stopped = [], []
        with (
            TemporaryDirectory() as directory,
            site_of(Path(directory), CLUSTERS, SIZE, MEMBERS, ttl_seconds) as site,
        ):
            for number in range(count):
                member = site.members[f"m{number % MEMBERS}"]
                killed.append(_measured(site, member, member.kill))
                stopped.append(_measured(site, member, partial(member.stop, 60.0)))
        yield _row("kill -9", ttl_seconds, killed)
        yield _row("SIGTERM", ttl_seconds, stopped)


def _measured(site: Site, member: Member, end: Callable[[], object]) -> float:
    """End a controller once everything is at rest, and start it again."""
    site.wait(lambda: site.is_divided and site.converged("a1"), "everything is at rest")
    clusters = set(site.owners.owned(member.name)) & set(site.clusters)
    oldest = sorted(site.ledger.alive(), key=lambda life: life.created_at, reverse=True)  # none has failed before
    victims = {life.cluster: life.machine for life in oldest if life.cluster in clusters}
    before = len(site.ledger.changes())
    began = time.time()
    end()
    _let_die(site, *victims.values())

    def replaced() -> dict[str, float]:
        made = [one for one in site.ledger.changes()[before:] if one.what is What.CREATED]
        return {one.cluster: one.at for one in reversed(made) if one.cluster in clusters}

    site.wait(lambda: replaced().keys() == clusters, "each of its clusters is acted on")
    member.start()
    return max(replaced().values()) - began


def _let_die(site: Site, *machines: str) -> None:
    cloud = SimCloud(SimSettings(), SystemClock(), site.ledger.database)
    try:
        for machine in machines:
            cloud.stop(machine)
    finally:
        cloud.close()


def _row(how: str, ttl_seconds: int, took: list[float]) -> Row:
    median = statistics.median(took)
    note = f"{len(took)} runs, {min(took):.1f} to {max(took):.1f} s; {CLUSTERS} clusters, {MEMBERS} controllers"
    what = f"(n) fail-over after {how}, lease of {ttl_seconds} s"
    return Row(what, f"{median:.1f} s", f"{ttl_seconds} s", f"{median / ttl_seconds:.2f}", note)


if __name__ == "__main__":
    for row in failing_over():
        print(row, flush=True)
