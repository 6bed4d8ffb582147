"""Compute Engine as a provider: instances as they are made by one call for many, told apart by their labels."""

from infrakit_providers.gcp.plugin import GcpPlugin

plugin = GcpPlugin()
