"""How many named machines must stay ready."""


def quorum(count: int) -> int:
    """Return how many must stay ready: the majority, or all but one where a majority leaves none to replace."""
    return min(count // 2 + 1, max(0, count - 1))
