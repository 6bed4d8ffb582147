"""A process that kills itself at its n-th change to the hypervisor: `python -m tests.libvirt.killed_midway N WHEN`.

It calls one method of a provider, which it reads from stdin (pickled settings, method, arguments), and counts the
calls of libvirt's API that change something. WHEN is `before` the n-th such call or `after` it. It ends with 0 if
there was no n-th call, with 1 if the method failed.
"""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from infrakit_providers.libvirt import plugin
from infrakit_py.clock import SystemClock
from infrakit_py.model.spec import Image, Json
from infrakit_py.spi.provider import ProviderContext

CHANGES = {
    "virConnect": ("defineXML",),
    "virDomain": ("create", "destroy", "setMetadata", "undefineFlags"),
    "virStoragePool": ("createXML",),
    "virStorageVol": ("delete", "resize", "upload"),
    "virStream": ("send", "finish"),
}
ROOT = Path(__file__).parents[2]


def killed_at(
    point: int, when: str, settings: Mapping[str, Json], method: str, *arguments: object, within: Sequence[str] = ()
) -> bool:
    """Run the method in a process of its own that is killed there. False if it ended before it came to that.

    within is a command to run it under, such as `unshare --mount`.
    """
    argv = [*within, sys.executable, "-m", "tests.libvirt.killed_midway", str(point), when]
    given = pickle.dumps((dict(settings), method, arguments))
    done = subprocess.run(argv, input=given, cwd=ROOT, capture_output=True, timeout=120)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode != 0


def main(point: int, when: str) -> int:
    import libvirt

    settings, method, arguments = pickle.load(sys.stdin.buffer)
    numbers = count(1)

    def deadly(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*given: object, **named: object) -> object:
            dies_here = next(numbers) == point
            if dies_here and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            result = call(*given, **named)
            if dies_here:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return counted

    for owner, names in CHANGES.items():
        for name in names:
            kind = getattr(libvirt, owner)
            setattr(kind, name, deadly(getattr(kind, name)))
    provider = plugin.open(settings, ProviderContext(SystemClock(), ROOT))
    if method == "publish":
        (image,) = arguments
        assert isinstance(image, Image)
        provider.publish(image, lambda done, total: None)
        return 0
    outcomes = getattr(provider, method)(*arguments)
    errors = [outcome.error for outcome in outcomes if outcome.error]
    print(errors, file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2]))
