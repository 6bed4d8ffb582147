"""`python -m tests.images DIR/NAME --set version=v1`: make one test image by hand."""

import argparse
import hashlib
import sys
from pathlib import Path

from tests.images.debian import ImageError
from tests.images.disk import build_disk
from tests.images.linuxkit_shaped import build_image


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.images", description="Make a tiny bootable test image.")
    parser.add_argument("prefix", type=Path, metavar="DIR/NAME")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", type=_setting, dest="settings")
    parser.add_argument("--health", default="ok", metavar="ok|never|after:SECONDS|until:SECONDS")
    parser.add_argument("--raw", type=Path, metavar="FILE", help="also make a raw disk")
    parser.add_argument("--qcow2", type=Path, metavar="FILE", help="also make a qcow2 disk")
    options = parser.parse_args()
    try:
        image = build_image(options.prefix, settings=dict(options.settings), health=options.health)
        files = [image.kernel, image.initrd, image.cmdline]
        if options.raw:
            files.append(build_disk(image, options.raw, format="raw"))
        if options.qcow2:
            files.append(build_disk(image, options.qcow2, format="qcow2"))
    except (ImageError, ValueError) as exc:
        print(f"tests.images: {exc}", file=sys.stderr)
        return 1
    for file in files:
        print(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file}")
    return 0


def _setting(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


if __name__ == "__main__":
    sys.exit(main())
