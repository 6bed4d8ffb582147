"""The fake as a process of its own: for examples, for crash tests, for trying things out by hand."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Thread

from infrakit_providers.simulated.settings import ZoneCapacity
from infrakit_py.model.quantities import parse_duration
from tests.fakes.gce import FakeGCE, FakeSettings


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Say the URL, and on a second line the key file's path, when ready."""
    asked = _parser().parse_args(arguments)
    settings = FakeSettings(
        seed=asked.seed,
        subnet_bits=asked.subnet_bits,
        boot_seconds=asked.boot_time,
        delete_seconds=asked.delete_time,
        operation_seconds=asked.operation_time,
        accept_seconds=asked.accept_time,
        bulk_appear_seconds=asked.bulk_appear_time,
        listing_lag=asked.listing_lag,
        stockout_seconds=asked.stockout_time,
        capacity=asked.capacity,
        quotas=asked.quota,
        limits=asked.limits,
        failure_rate=asked.failure_rate,
        health_seconds=asked.health_time,
        import_seconds=asked.import_time,
    )
    fake = FakeGCE(settings, port=asked.port, credentials=asked.credentials_file)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: Thread(target=fake.stop).start())
    print(fake.url, fake.credentials, sep="\n", flush=True)
    fake.serve()
    fake.close()
    return 0


def _capacity(text: str) -> dict[str, ZoneCapacity]:
    """Read `b=10,c/n2-standard-2=3`."""
    rooms: dict[str, ZoneCapacity] = {}
    for place, number in _pairs(text):
        zone, _, type_ = place.partition("/")
        room = rooms.get(zone)
        if type_:
            rooms[zone] = {**(room if isinstance(room, dict) else {}), type_: int(number)}
        else:
            rooms[zone] = int(number)
    return rooms


def _quotas(text: str) -> dict[str, float]:
    """Read `CPUS=24,INSTANCES=10`."""
    return {metric: float(number) for metric, number in _pairs(text)}


def _pairs(text: str) -> list[tuple[str, str]]:
    return [(name, number) for name, _, number in (one.partition("=") for one in text.split(","))]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.gce", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--credentials-file", type=Path, metavar="PATH", help="where to write the key file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--subnet-bits", type=int, default=20, help="length of the subnetworks' prefix")
    parser.add_argument("--limits", choices=["none", "gce"], default="none", help="whether calls are counted")
    for name, otherwise in (
        ("--boot-time", 2.0),
        ("--delete-time", 1.0),
        ("--operation-time", 1.0),
        ("--accept-time", 0.0),
        ("--bulk-appear-time", 0.0),
        ("--listing-lag", 0.0),
        ("--stockout-time", 2.0),
        ("--health-time", 0.0),
        ("--import-time", 2.0),
    ):
        parser.add_argument(name, type=parse_duration, default=otherwise, metavar="TIME")
    parser.add_argument(
        "--capacity", type=_capacity, default={}, metavar="b=10,c/n2-standard-2=3", help="by zone, or zone and type"
    )
    parser.add_argument("--quota", type=_quotas, default={}, metavar="CPUS=24", help="limits by metric, per region")
    parser.add_argument("--failure-rate", type=float, default=0.0, metavar="SHARE")
    return parser


if __name__ == "__main__":
    sys.exit(main())
