"""HTTP: what a running controller tells and is told. It decides nothing itself."""
