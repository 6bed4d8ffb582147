"""The composition root: the only room that builds objects. Commands ask it; it decides nothing itself."""

from infrakit_py.app.root import App, Rollouts, Stage

__all__ = ["App", "Rollouts", "Stage"]
