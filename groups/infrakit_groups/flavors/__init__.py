"""Flavors: what makes the members of a group special."""
