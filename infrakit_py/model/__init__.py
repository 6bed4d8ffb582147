"""Frozen values that every room speaks in: specs, instances, tags, fingerprints, plans. No I/O, no clock."""
