"""Stand-ins for vendors' APIs, and a proxy that breaks the line to them: servers that real clients talk to."""
