"""Hypervisors for tests: a libvirtd of one's own, invisible to the machine's libvirt and gone without a trace."""

from tests.hosts.private_libvirtd import HostError, HttpReply, PrivateLibvirtd, missing_requirements

__all__ = ["HostError", "HttpReply", "PrivateLibvirtd", "missing_requirements"]
