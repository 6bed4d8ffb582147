"""The operator's hand in a simulated cloud: look at it, break it, while something else provisions on it."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from infrakit_providers.simulated.buckets import Call
from infrakit_providers.simulated.cloud import SimCloud
from infrakit_providers.simulated.faults import Fault
from infrakit_providers.simulated.mishaps import IMPAIRED, MISHAPS, befall
from infrakit_providers.simulated.settings import SimSettings
from infrakit_py.clock import SystemClock
from infrakit_py.errors import InfrakitError, ProviderError
from infrakit_py.model.quantities import format_duration


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what one command line says. Return the exit code."""
    asked = _parser().parse_args(arguments)
    try:
        if not asked.database.is_file():
            raise ProviderError(
                f"no simulated cloud in {asked.database}", hint="it is made by the first command that uses it"
            )
        clock = SystemClock()
        cloud = SimCloud(SimSettings(), clock, asked.database)
        try:
            _obey(cloud, asked, clock.now())
        finally:
            cloud.close()
    except InfrakitError as exc:
        print(f"error: {exc}" + (f"\n{exc.hint}" if exc.hint else ""), file=sys.stderr)
        return 1
    return 0


def _obey(cloud: SimCloud, asked: argparse.Namespace, now: float) -> None:
    match asked.command:
        case "list":
            _list(cloud, now)
        case "kill":
            cloud.stop(asked.id, "killed (simulated)")
        case "stop":
            cloud.stop(asked.id, "powered off (simulated)")
        case "sicken":
            cloud.set_sick(asked.id, sick=True)
        case "heal":
            cloud.set_sick(asked.id, sick=False)
            cloud.set_impaired(asked.id, "")
        case "impair":
            cloud.set_impaired(asked.id, asked.reason)
        case "mishap":
            befall(cloud, asked.kind, asked.amount, asked.target)
        case "fail":
            cloud.fail(asked.call, asked.error, asked.times)


def _list(cloud: SimCloud, now: float) -> None:
    print(f"{'ID':<20} {'STATE':<11} {'NAME':<20} {'ZONE':<6} {'TYPE':<8} {'ADDRESS':<15} {'AGE':>10}  NOTE")
    for machine in cloud.everything():
        notes = [machine.detail, f"disk {machine.disk}" if machine.disk else "", "sick" if machine.sick else ""]
        notes.append(machine.impaired)
        age = format_duration(round(now - machine.created_at))
        print(
            f"{machine.id:<20} {machine.state:<11} {machine.name:<20} {machine.zone:<6} {machine.type:<8} "
            f"{machine.address:<15} {age:>10}  {' '.join(filter(None, notes))}".rstrip()
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infrakit_providers.simulated", description=__doc__)
    parser.add_argument("database", type=Path, help="file of the simulated cloud, by default .infrakit/simulated.db")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="show all machines, also those that no listing shows yet")
    for name, text in {
        "kill": "let a machine crash",
        "stop": "power a machine off",
        "sicken": "let a machine fail its health checks",
        "heal": "let a sick machine answer again, and an impaired one be whole",
    }.items():
        commands.add_parser(name, help=text).add_argument("id", help="id of the machine")
    impair = commands.add_parser("impair", help="let the cloud itself report a machine as broken")
    impair.add_argument("id", help="id of the machine")
    impair.add_argument("--reason", default=IMPAIRED)
    mishap = commands.add_parser(
        "mishap",
        help="let something go wrong",
        epilog="\n".join(f"{kind:<13} {text}" for kind, text in MISHAPS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    mishap.add_argument("kind", choices=list(MISHAPS), metavar="KIND", help="one of the below")
    mishap.add_argument("--amount", type=float, default=1.0)
    mishap.add_argument("--target", default="")
    fail = commands.add_parser("fail", help="let the next calls of a kind fail, whoever makes them")
    fail.add_argument("call", type=Call, choices=list(Call), metavar="CALL", help=", ".join(Call))
    fail.add_argument(
        "--error", type=Fault, choices=list(Fault), metavar="ERROR", default=Fault.TRANSIENT, help=", ".join(Fault)
    )
    fail.add_argument("--times", type=int, default=1, metavar="N")
    return parser


if __name__ == "__main__":
    sys.exit(main())
