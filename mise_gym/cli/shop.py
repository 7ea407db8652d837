"""``mise-gym webshop serve``: the shop in a browser, and what people do in it as recorded episodes."""

import argparse
import contextlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from mise_gym.errors import ConfigError
from mise_gym.recorder import EpisodeRecorder
from mise_gym.trajectories import EpisodeWriter
from mise_gym.types import Episode
from webshop_server.command import add_arguments as add_shop_arguments
from webshop_server.command import serve
from webshop_server.errors import ShopError
from webshop_server.past_visit import PastVisit


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mise-gym webshop serve``."""
    add_shop_arguments(parser)
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="append visits, once they are over, to this .jsonl or .jsonl.gz file"
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C.

    Raises:
        ConfigError: The catalogue, the address or a number is no good.
        TrajectoryFormatError: The file to record to has another name or is damaged.
    """
    settings = {name: getattr(arguments, name) for name in ("quirks", "show_attributes")}
    with _recording(arguments.record, settings) as on_end:
        try:
            serve(arguments, on_end, _say)
        except ShopError as error:
            raise ConfigError(str(error)) from error
    return 0


class VisitRecorder:
    """Appends visits to a file of recorded episodes. Threads may use it together.

    Args:
        writer: Where they go.
        settings: Arguments of ``mise/WebShop-v0`` under which an episode can be played again; kept in ``Episode.extra``.
    """

    def __init__(self, writer: EpisodeWriter, settings: dict[str, object]) -> None:
        self._writer = writer
        self._settings = settings
        self._lock = threading.Lock()

    def __call__(self, past: PastVisit) -> None:
        """Record a visit; when the disk is full, say so and go on."""
        try:
            with self._lock:
                self._writer.write(episode_of(past, self._settings))
        except OSError as error:
            print(f"mise-gym: A visit could not be recorded: {error.strerror}: {str(self._writer.path)!r}.", file=sys.stderr)


def episode_of(past: PastVisit, settings: dict[str, object]) -> Episode:
    """Return a visit as the episode that ``mise/WebShop-v0`` would have made of it; truncated if nothing was bought.

    ``mise_gym.envs.wrappers.replay`` plays it again.

    Args:
        past: The visit.
        settings: Arguments of the environment; kept in ``Episode.extra``.
    """
    errand = past.errand
    facts = {"task": errand.goal.instruction_text, "task_id": errand.task_id, "split": errand.split, "progress": 0.0}
    extra = {"options": {"game": errand.task_id}, "player": "human", "settings": settings, "ending": past.ending}
    recorder = EpisodeRecorder(past.turns[0].observation, facts, extra=extra)
    is_bought = past.ending == "purchase"
    for number, turn in enumerate(past.turns, 1):
        is_last = number == len(past.turns)
        info = {"progress": turn.reward, "success": turn.reward == 1.0}
        recorder.record(turn.action, (turn.next_observation, turn.reward, is_last and is_bought, is_last and not is_bought, info))
    return recorder.episode()


@contextlib.contextmanager
def _recording(path: Path | None, settings: dict[str, object]) -> Iterator[VisitRecorder | None]:
    if path is None:
        yield None
        return
    with EpisodeWriter(path) as writer:
        yield VisitRecorder(writer, settings)


def _say(line: str) -> None:
    print(line, flush=True)
