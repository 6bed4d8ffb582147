"""Observe, decide, execute, record. The clock, the runner of calls and the wake-ups are its only seams."""
