"""Text environments: a base class with their common contract, TextWorld, and the making of its games."""

from mise_gym.envs.base import Scene, Task, TextEnv

__all__ = ["Scene", "Task", "TextEnv"]
