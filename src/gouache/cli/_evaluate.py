"""``gouache evaluate``: measure one set of images against another."""


def evaluate() -> None:
    """todo"""
