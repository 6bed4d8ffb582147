"""Where intents and revisions are remembered. Losing a store costs time, never a machine."""
