"""The cgroup limits of a container in a LinuxKit YAML: its schema's part of the OCI runtime specification."""

from pydantic import BaseModel, Field

from infrakit_py.loading.linuxkit_fields import MODEL


class _Part(BaseModel):
    model_config = MODEL


class DeviceRule(_Part):
    """Whether a container may use devices of a kind."""

    allow: bool = False
    type: str = ""
    major: int = 0
    minor: int = 0
    access: str = ""


class Memory(_Part):
    limit: int = Field(default=0, description="bytes")
    reservation: int = 0
    swap: int = 0
    kernel: int = 0
    kernelTCP: int = 0
    swappiness: int = 0
    disableOOMKiller: bool = False


class Cpu(_Part):
    shares: int = 0
    quota: int = 0
    period: int = 0
    realtimeRuntime: int = 0
    realtimePeriod: int = 0
    cpus: str = ""
    mems: str = ""


class Pids(_Part):
    limit: int = 0


class Weight(_Part):
    major: int = 0
    minor: int = 0
    weight: int = 0
    leafWeight: int = 0


class Throttle(_Part):
    major: int = 0
    minor: int = 0
    rate: int = 0


class BlockIo(_Part):
    weight: int = 0
    leafWeight: int = 0
    weightDevice: list[Weight] = []
    throttleReadBpsDevice: list[Throttle] = []
    throttleWriteBpsDevice: list[Throttle] = []
    throttleReadIOPSDevice: list[Throttle] = []
    throttleWriteIOPSDevice: list[Throttle] = []


class HugePages(_Part):
    pageSize: int | str = Field(default=0, description="a number in LinuxKit's schema, text in its structs")
    limit: int = 0


class Priority(_Part):
    name: str = ""
    priority: int = 0


class Network(_Part):
    classID: int = 0
    priorities: list[Priority] = []


class Resources(_Part):
    """Limits of a container."""

    devices: list[DeviceRule] = []
    memory: Memory = Memory()
    cpu: Cpu = Cpu()
    pids: Pids = Pids()
    blockio: BlockIo = BlockIo()
    hugepageLimits: list[HugePages] = []
    network: Network = Network()
