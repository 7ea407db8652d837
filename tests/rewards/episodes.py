"""Episodes for the tests of judges."""

from mise_gym.types import Episode, Transition


def episode(num_turns=3, task="Reach the exit.", name="", **facts):
    """Return an episode that was lost; ``name`` tells it from others."""
    turns = tuple(
        Transition(observation=f"Room {turn}{name}.", action=f"go {turn}{name}", reward=0.0, next_observation=f"Room {turn + 1}.")
        for turn in range(num_turns)
    )
    return Episode(
        task=task, transitions=turns, **{"progress": 0.0, "success": False, "terminated": True, "truncated": False} | facts
    )
