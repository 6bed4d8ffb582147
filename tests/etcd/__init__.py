"""The store of several controllers, on real etcd servers."""
