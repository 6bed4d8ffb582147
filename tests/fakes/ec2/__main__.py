"""The fake as a process of its own: for examples, for crash tests, for trying things out by hand."""

import argparse
import signal
import sys
from collections.abc import Sequence
from threading import Thread

from infrakit_providers.simulated.settings import ZoneCapacity
from infrakit_py.model.quantities import parse_duration
from tests.fakes.ec2 import FakeEC2, FakeSettings


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Say the URL, in one line, when ready."""
    asked = _parser().parse_args(arguments)
    settings = FakeSettings(
        region=asked.region,
        neighbours=tuple(asked.neighbours),
        seed=asked.seed,
        limits=asked.limits,
        boot_seconds=asked.boot_time,
        terminate_seconds=asked.terminate_time,
        listing_lag=asked.listing_lag,
        id_lag=asked.id_lag,
        capacity=asked.capacity,
        vcpu_quota=asked.vcpu_quota,
        failure_rate=asked.failure_rate,
        health_seconds=asked.health_time,
        deregistration_seconds=asked.deregistration_time,
    )
    fake = FakeEC2(settings, port=asked.port, buckets=asked.buckets)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: Thread(target=fake.stop).start())
    print(fake.url, flush=True)
    fake.serve()
    fake.close()
    return 0


def _capacity(text: str) -> dict[str, ZoneCapacity]:
    """Read `a=10,b=5,c/m5.large=3`."""
    rooms: dict[str, ZoneCapacity] = {}
    for one in text.split(","):
        place, _, number = one.partition("=")
        zone, _, type_ = place.partition("/")
        room = rooms.get(zone)
        if type_:
            rooms[zone] = {**(room if isinstance(room, dict) else {}), type_: int(number)}
        else:
            rooms[zone] = int(number)
    return rooms


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.ec2", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--region", default="eu-central-1")
    parser.add_argument("--neighbours", nargs="*", default=[], metavar="REGION")
    parser.add_argument("--buckets", default="", metavar="URL", help="of a server that has S3, such as moto's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limits", choices=["none", "ec2"], default="none", help="whether calls are throttled")
    parser.add_argument("--boot-time", type=parse_duration, default=2.0, metavar="TIME")
    parser.add_argument("--terminate-time", type=parse_duration, default=1.0, metavar="TIME")
    parser.add_argument("--listing-lag", type=parse_duration, default=0.0, metavar="TIME")
    parser.add_argument("--id-lag", type=parse_duration, default=0.0, metavar="TIME")
    parser.add_argument(
        "--health-time", type=parse_duration, default=0.0, metavar="TIME", help="until a target is healthy"
    )
    parser.add_argument("--deregistration-time", type=parse_duration, default=300.0, metavar="TIME")
    parser.add_argument(
        "--capacity", type=_capacity, default={}, metavar="a=10,b/m5.large=3", help="by zone, or zone and type"
    )
    parser.add_argument("--vcpu-quota", type=int, metavar="N")
    parser.add_argument("--failure-rate", type=float, default=0.0, metavar="SHARE")
    return parser


if __name__ == "__main__":
    sys.exit(main())
