"""Controllers on etcd."""

from tests.etcd.servers import etcd

__all__ = ["etcd"]
