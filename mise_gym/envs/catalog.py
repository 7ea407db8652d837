"""The table of environment ids."""


def register_envs() -> None:
    """Register every id."""
