"""The file of a disk while it is uploaded: it must be the very one that the image was made of, from first to last."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import file_digest
from pathlib import Path

from infrakit_py.errors import ProviderError
from infrakit_py.model.spec import ImageFile


class DiskChanged(ProviderError):
    """Somebody wrote to the file."""


@contextmanager
def opened(disk: ImageFile) -> Iterator[int]:
    """Yield a descriptor to read the disk by. DiskChanged, before or at the end, unless it is what it was."""
    try:
        with Path(disk.path).open("rb") as file:
            before = os.fstat(file.fileno())
            if file_digest(file, "sha256").hexdigest() != disk.sha256:
                raise DiskChanged(f"aws: {disk.path} was changed after it was read", hint="plan again")
            yield file.fileno()
            after = os.fstat(file.fileno())
    except OSError as exc:
        raise ProviderError(f"aws: cannot read {disk.path}: {exc.strerror or exc}") from exc
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        raise DiskChanged(f"aws: {disk.path} was changed while it was uploaded", hint="plan again")
