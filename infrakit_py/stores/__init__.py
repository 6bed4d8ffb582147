"""Where intents, revisions and versions of groups are remembered. Losing a store costs time, never a machine."""
