"""A controller as a process: it lives, owns one cluster as long as it can, and writes whenever it believes it may.

`python -m tests.etcd.holder ENDPOINT PREFIX TTL MEMBER`: a line for each thing that happens.
"""

import sys
import threading
import time
from dataclasses import replace
from functools import partial

from infrakit_py.engine.execute import attempt
from infrakit_py.errors import Fenced
from infrakit_py.model.controller import EtcdAddress
from infrakit_py.spi.store import Intent
from infrakit_py.stores.etcd import open_etcd
from infrakit_py.stores.etcd_claims import EtcdClaims, boot_time

CLUSTER = "shop"
INTENT = Intent(CLUSTER, "web", "local", "0", 0, None, "v1-abc", 1000.0)


def say(*words: object) -> None:
    print(*words, flush=True)


def beat_for_ever(claims: EtcdClaims) -> None:
    while True:
        time.sleep(claims.ttl_seconds / 3)
        if attempt(claims.beat) is False:
            say("lost")


def main(endpoint: str, prefix: str, ttl: str, member: str) -> None:
    store, claims = open_etcd(EtcdAddress((endpoint,), prefix, float(ttl)), member)
    claims.beat()
    threading.Thread(target=beat_for_ever, args=(claims,), daemon=True).start()
    assert claims.claim(CLUSTER) is not None
    say("holds")
    for number in range(1_000_000):
        if claims.left_seconds(CLUSTER) > 0:
            begun = boot_time()
            answer = attempt(partial(store.record, [replace(INTENT, fingerprint=f"{member}-{number}")]))
            say("fenced" if isinstance(answer, Fenced) else "failed" if answer is not None else "wrote", begun)
        else:
            say("waits")
        time.sleep(0.01)


if __name__ == "__main__":
    main(*sys.argv[1:])
