"""``mise-gym view``: recorded episodes turn by turn, with the scores as colours and the judge's reasons."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mise_gym.cli.terminal import Screen, visible
from mise_gym.errors import ConfigError
from mise_gym.rewards.base import RewardBreakdown
from mise_gym.rewards.labels import labels_of, reasons_of
from mise_gym.train.text import WRITTEN
from mise_gym.trajectories import read_episodes
from mise_gym.types import Episode

BAR: Final = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mise-gym view``."""
    parser.epilog = "To page through it in colour: mise-gym view FILE --colour always | less -R"
    add_choice(parser)
    parser.add_argument("--list", action="store_true", dest="is_list", help="one line per episode")


def add_choice(parser: argparse.ArgumentParser) -> None:
    """Add what says which episodes of a file are shown, and how."""
    parser.add_argument("file", type=Path, metavar="FILE", help="recorded episodes, .jsonl or .jsonl.gz")
    parser.add_argument("--episode", type=int, metavar="N", help="only the N-th of the file")
    parser.add_argument("--failures", action="store_true", help="only episodes that missed the goal")
    parser.add_argument("--colour", choices=("auto", "always", "never"), default="auto", help="default: %(default)s")


def run(arguments: argparse.Namespace) -> int:
    """Show the episodes that were asked for."""
    screen = Screen(arguments.colour)
    for number, episode in chosen(arguments):
        labels = labels_of(episode)
        if arguments.is_list:
            screen.show(_headline(number, episode, labels), _style(episode))
        else:
            show_episode(screen, number, episode, labels)
    return 0


def chosen(arguments: argparse.Namespace) -> Iterator[tuple[int, Episode]]:
    """Yield the episodes that were chosen by the options of ``add_choice``, each with its number in the file.

    Raises:
        ConfigError: There are none.
        TrajectoryFormatError: The file cannot be read.
    """
    is_empty = True
    for number, episode in enumerate(read_episodes(arguments.file), 1):
        if arguments.episode in (None, number) and not (arguments.failures and episode.success):
            is_empty = False
            yield number, episode
    if is_empty:
        raise ConfigError(f"{str(arguments.file)!r} has no such episode. See what is there with: mise-gym view FILE --list")


def show_episode(screen: Screen, number: int, episode: Episode, labels: RewardBreakdown | None) -> None:
    """Show an episode turn by turn, with the scores and rewards in its labels."""
    screen.show(_headline(number, episode, labels), _style(episode))
    screen.show(f"Task: {visible(episode.task)}", "note")
    if labels is not None:
        screen.show(_judge_line(labels), "status")
    screen.show("")
    for turn, transition in enumerate(episode.transitions):
        if turn == 0 and transition.observation != episode.task:
            screen.show(visible(transition.observation))
            screen.show("")
        if thoughts := _written(episode, turn):
            screen.show(thoughts, "note")
        screen.show(f"{turn + 1:>3} {_score(screen, labels, turn)}> {visible(transition.action)}")
        note = _note(episode, labels, turn)
        if note:
            screen.show(f"    {note}", "status")
        screen.show(visible(transition.next_observation))
        screen.show("")


def _headline(number: int, episode: Episode, labels: RewardBreakdown | None) -> str:
    end = "won" if episode.success else "lost" if episode.terminated else "cut off" if episode.truncated else "not finished"
    parts = [f"episode {number}", end, f"progress {episode.progress:.0%}", f"{len(episode)} turns"]
    if labels is not None and labels.scores:
        parts.append(f"mean score {sum(labels.scores) / len(labels.scores):.2f}")
    parts += [visible(part) for part in (episode.task_id, episode.split) if part]
    return " · ".join(parts)


def _style(episode: Episode) -> str:
    return "good" if episode.success else "bad"


def _judge_line(labels: RewardBreakdown) -> str:
    name = visible(str(labels.judge.get("name", "?")))
    if labels.scores is None:
        return f"judge {name}: no scores, {labels.status.value}. {visible(str(labels.judge.get('message', '')))}".rstrip()
    stated = labels.judge.get("belief")
    belief = "" if stated is None else f" · belief {stated:.2f}"
    return f"judge {name}{belief} · environment {sum(labels.env_rewards):+.2f} · total {sum(labels.step_rewards):+.2f}"


def _score(screen: Screen, labels: RewardBreakdown | None, turn: int) -> str:
    """Return the score of a turn: a coloured bar and a number, or the number alone where there are no colours."""
    if labels is None or labels.scores is None:
        return ""
    score = labels.scores[turn]
    filled = round(BAR * min(max(score, 0.0), 1.0))
    bar = f"{'█' * filled}{'░' * (BAR - filled)} " if screen.has_colour else ""
    return screen.on_scale(f"{bar}[{score:.2f}]", min(max(score, 0.0), 1.0)) + " "


def _written(episode: Episode, turn: int) -> str:
    """Return what the policy wrote, where that is more than the action."""
    if WRITTEN not in episode.extra:
        return ""
    text = str(episode.extra[WRITTEN][turn]["text"])
    return visible(text) if text != episode.transitions[turn].action else ""


def _note(episode: Episode, labels: RewardBreakdown | None, turn: int) -> str:
    """Return the reward of a turn in its parts, and why the judge scored it so."""
    transition = episode.transitions[turn]
    parts = [] if transition.valid_action else ["not understood"]
    if labels is not None and labels.calibrated is not None:
        parts.append(
            f"e {labels.env_rewards[turn]:+.2f}  c(s) {labels.calibrated[turn]:+.2f}  r {labels.step_rewards[turn]:+.2f}"
        )
    elif transition.reward:
        parts.append(f"reward {transition.reward:+.2f}")
    if labels is not None and reasons_of(labels):
        parts.append(visible(reasons_of(labels)[turn]))
    return " · ".join(parts)
