"""The store in etcd agrees with that in memory, whatever is done to them in whatever order."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from infrakit_py.stores.etcd import open_etcd
from tests.etcd.servers import Servers
from tests.stores.test_agreement import Agreement


@pytest.mark.long
@pytest.mark.slow
def test_etcd_agrees_with_memory(etcd: Servers) -> None:
    class WithEtcd(Agreement):
        def opened(self) -> Any:
            address = etcd.address(prefix=f"/{Path(self.directory.name).name}")
            return open_etcd(address, "one", self.clock)[0]

    few = settings(max_examples=6, stateful_step_count=15, deadline=None)
    run_state_machine_as_test(WithEtcd, settings=few)
