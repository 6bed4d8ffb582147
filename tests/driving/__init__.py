"""`infra` at work on any provider: inline in virtual time, or as processes that are killed. It knows no vendor."""
