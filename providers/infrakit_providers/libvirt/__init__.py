"""libvirt as a provider: machines as persistent domains, tagged in their metadata."""

from infrakit_providers.libvirt.plugin import LibvirtPlugin

plugin = LibvirtPlugin()
