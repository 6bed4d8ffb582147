"""The store of several controllers: an etcd cluster, 3.4 or later. Its client is imported when it is opened."""

import math

from infrakit_py.clock import Clock
from infrakit_py.model.controller import EtcdAddress
from infrakit_py.stores.etcd_calls import EtcdCalls
from infrakit_py.stores.etcd_claims import EtcdClaims
from infrakit_py.stores.etcd_keys import Keys
from infrakit_py.stores.etcd_store import EtcdStore


def open_etcd(address: EtcdAddress, member: str, clock: Clock | None = None) -> tuple[EtcdStore, EtcdClaims]:
    """Return what is remembered in an etcd cluster, and the claims of the controller called `member`.

    Nothing is asked yet: the first `beat` makes the lease, and reads need none. PluginError where the client is not
    installed, StoreError where an endpoint is no URL. Closing the store ends the connections of both.
    """
    ttl_seconds = math.ceil(address.ttl_seconds)
    calls = EtcdCalls(address, timeout_seconds=min(2.0, ttl_seconds / 4))
    keys = Keys(address.prefix)
    claims = EtcdClaims(calls, keys, member, ttl_seconds)
    return EtcdStore(calls, claims, keys, clock), claims
