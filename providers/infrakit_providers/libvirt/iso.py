"""The user data as an ISO 9660 image labelled CIDATA, as LinuxKit's metadata package and cloud-init read it.

The same input gives the same bytes, so that writing it again over a half-written volume is harmless. pycdlib puts
the current local time into every record and takes no other, hence this one. One directory, names as given: Linux
shows them in lower case, as both readers want them.
"""

import struct
from collections.abc import Mapping
from typing import Final

LABEL: Final = "CIDATA"

_SECTOR: Final = 2048
_PATH_TABLE_SIZE: Final = 10
_LITTLE_TABLE, _BIG_TABLE, _ROOT, _FIRST_FILE = 18, 19, 20, 21
_RECORDED: Final = bytes([70, 1, 1, 0, 0, 0, 0])
_CREATED: Final = b"1970010100000000\0"
_UNSET: Final = b"0" * 16 + b"\0"


def user_data_iso(user_data: bytes | None, *, instance_id: str, host_name: str) -> bytes:
    """Return the image of a NoCloud source: `user-data` (empty for None) and `meta-data`."""
    meta_data = f"instance-id: {instance_id}\nlocal-hostname: {host_name}\n"
    return iso({"meta-data": meta_data.encode(), "user-data": user_data or b""})


def iso(files: Mapping[str, bytes]) -> bytes:
    """Return an ISO 9660 image with these files in its root."""
    records, content, extent = [], [], _FIRST_FILE
    for name, data in sorted(files.items()):
        records.append(_record(name.encode("ascii"), extent, len(data)))
        content.append(_padded(data))
        extent += len(content[-1]) // _SECTOR
    here, parent = (_record(name, _ROOT, _SECTOR, directory=True) for name in (b"\0", b"\1"))
    directory = _padded(here + parent + b"".join(records))
    if len(directory) > _SECTOR:
        raise ValueError("more files than fit into one directory sector")
    tables = [_padded(struct.pack(f"{order}BBIH", 1, 0, _ROOT, 1) + b"\0\0") for order in "<>"]
    descriptors = [_padded(_volume_descriptor(extent)), _padded(b"\xffCD001\1")]
    return b"".join([bytes(16 * _SECTOR), *descriptors, *tables, directory, *content])


def _volume_descriptor(sectors: int) -> bytes:
    fields = (
        b"\1CD001\1\0", b" " * 32, LABEL.encode().ljust(32), bytes(8), _both32(sectors), bytes(32),
        _both16(1), _both16(1), _both16(_SECTOR), _both32(_PATH_TABLE_SIZE),
        struct.pack("<II", _LITTLE_TABLE, 0), struct.pack(">II", _BIG_TABLE, 0),
        _record(b"\0", _ROOT, _SECTOR, directory=True),
        b" " * 512, b" " * 111, _CREATED * 2, _UNSET * 2, b"\1\0",
    )  # fmt: skip
    return b"".join(fields)


def _record(name: bytes, extent: int, size: int, *, directory: bool = False) -> bytes:
    length = 33 + len(name) + (len(name) + 1) % 2
    where = _both32(extent) + _both32(size) + _RECORDED
    flags = bytes([2 if directory else 0, 0, 0]) + _both16(1)
    return (bytes([length, 0]) + where + flags + bytes([len(name)]) + name).ljust(length, b"\0")


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _SECTOR or (0 if data else _SECTOR))


def _both16(value: int) -> bytes:
    return struct.pack("<H", value) + struct.pack(">H", value)


def _both32(value: int) -> bytes:
    return struct.pack("<I", value) + struct.pack(">I", value)
