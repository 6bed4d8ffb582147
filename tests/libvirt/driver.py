"""The provider opened on libvirt's own test driver, which lives in this process and boots nothing."""

from pathlib import Path

from infrakit_providers.libvirt import plugin
from infrakit_py.clock import SystemClock
from infrakit_py.images.cache import Cache
from infrakit_py.images.disks import DiskMaker
from infrakit_py.model.spec import Json
from infrakit_py.spi.provider import Provider, ProviderContext

URI = "test:///default"
POOL = "default-pool"
SETTINGS: dict[str, Json] = {"uri": URI, "virt_type": "test", "pool": POOL}
FOREIGN_XML = """\
<domain type='test'><name>{}</name><uuid>{}</uuid><memory>1024</memory><os><type>hvm</type></os></domain>
"""


def open_provider(directory: Path) -> Provider:
    """Open it, with disks made by the real maker in a cache of the directory's own."""
    disks = DiskMaker(Cache(directory / "cache"))
    return plugin.open(SETTINGS, ProviderContext(SystemClock(), directory, disks))
