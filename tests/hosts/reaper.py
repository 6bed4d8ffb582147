"""Run a command in the background and collect every process that it leaves without a parent.

QEMU and dnsmasq detach from libvirtd, so their death is noticed by their new parent alone. Where that is a first
process that collects its children late or never, as in many containers, libvirt takes a dead guest for a living one:
`destroy` lasts seconds or fails. Run as a file of its own, without this project: `python reaper.py LOG COMMAND...`
"""

import ctypes
import os
import signal
import sys

PR_SET_CHILD_SUBREAPER = 36


def main(log: str, command: list[str]) -> None:
    if os.fork():
        return
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the last to leave: it ends when its last child has ended
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError("cannot become the parent of orphans")
    _redirect_output(log)
    if os.fork() == 0:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.execvp(command[0], command)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


def _redirect_output(log: str) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
