"""`python -m tests.hosts up --dir D`: keep a private libvirtd by hand, and run commands inside its namespace."""

import argparse
import os
import sys
from pathlib import Path

from tests.hosts.private_libvirtd import HostError, PrivateLibvirtd, missing_requirements


def main() -> int:
    options = _parser().parse_args()
    if options.command == "check":
        missing = missing_requirements()
        print("; ".join(missing))
        return 1 if missing else 0
    try:
        host = PrivateLibvirtd(options.dir, getattr(options, "name", None))
        return _do(options, host)
    except HostError as exc:
        print(f"tests.hosts: {exc}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.hosts", description="A private libvirtd for tests.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="say what this machine lacks for one, if anything")
    for name, purpose in (
        ("up", "start it, empty, and print its URI"),
        ("down", "stop it and all that runs in its namespace"),
        ("uri", "print its URI"),
        ("exec", "run a command inside its namespace"),
    ):
        command = commands.add_parser(name, help=purpose)
        command.add_argument("--dir", type=Path, required=True, metavar="D", help="where its state is")
        if name == "up":
            command.add_argument("--name", help="of the network namespace (default: a new one)")
        if name == "exec":
            command.add_argument("argv", nargs="+", metavar="-- CMD")
    return parser


def _do(options: argparse.Namespace, host: PrivateLibvirtd) -> int:
    match options.command:
        case "up":
            if missing := missing_requirements():
                raise HostError("; ".join(missing))
            host.up()
            print(host.uri)
        case "down":
            host.down()
        case "uri":
            print(host.uri)
        case "exec":
            command = host.command_inside(options.argv)
            os.execvp(command[0], command)
    return 0


if __name__ == "__main__":
    sys.exit(main())
