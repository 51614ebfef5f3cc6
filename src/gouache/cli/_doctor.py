"""``gouache doctor``."""


def doctor() -> None:
    """todo"""
