"""TextWorldEnv: text adventures made by TextWorld, among them the cooking games of the First TextWorld Problems competition."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from mise_gym.envs.base import RewardMode, Scene, Task, TextEnv
from mise_gym.envs.game_memory import INTERPRETERS
from mise_gym.envs.game_source import GameSource, GeneratedGames, GivenGames, choose_game
from mise_gym.envs.interpreter import Interpreters
from mise_gym.envs.isolation import IsolatedInterpreters
from mise_gym.envs.levels import check_split, game_family
from mise_gym.envs.textworld_session import GameSession
from mise_gym.errors import ConfigError, MiseError, SimulatorCrashed
from mise_gym.registry import unknown_name


class TextWorldEnv(TextEnv):
    """Text adventures made by TextWorld: rooms, containers, things to carry, and a quest.

    ## Description
    The player walks through rooms, opens things, takes and drops things, and so fulfils a quest. The games are made by a
    generator built into TextWorld (``challenge``) when they are first played, or given as files (``games``). In a cooking
    game (``mise/FTWP-v0``) the player finds the ingredients, prepares each as the cookbook says, prepares the meal and eats
    it; a wrong preparation loses the game.

    ## Observation
    What the game prints, as one string. The logo in ASCII art and the status bar are left out.

    ## Actions
    Any string. One that is a single plain command ("take knife from counter") is sent to the game. Chained commands, commands
    to the interpreter ("save", "restart"), control characters and characters beyond ASCII are answered by the environment;
    like everything the game does not understand they cost a turn and set ``info["valid_action"]`` to ``False``, and
    ``info["refused_actions"]`` counts them.

    ## Rewards
    ``reward_mode="sparse"``: the final progress (score divided by maximum score) when the episode ends, also when it is
    truncated. ``reward_mode="dense"``: the progress made in each turn.

    ## Episode end
    Terminated when the game is won (the maximum score) or lost. Truncated after ``max_turns`` turns.

    ## Information
    Always ``progress``, ``success``, ``score``, ``max_score``, ``turn``, ``task``, ``split``, ``task_id`` (the name of the
    game), ``valid_action`` and ``refused_actions`` (how many actions of this episode were not passed on to the game). On
    request (``infos=``): ``admissible_commands`` (sorted), ``policy_commands`` (a plan that wins from here),
    ``intermediate_reward`` (1, 0 or -1: did the last action shorten that plan), ``facts``, ``look``, ``inventory`` and
    ``walkthrough`` (the generator's solution from the start). ``policy_commands`` is empty in games with
    limited inventory (``drop``), for which TextWorld has no plans. ``env.unwrapped.find_out(name)`` returns any of them for
    the current moment without asking for it on every step.

    ## Arguments
    - ``challenge``: "tw-cooking", "tw-simple", "tw-coin_collector", "tw-treasure_hunter" or "custom" (a quest of chosen length
      in a world of chosen size).
    - ``level``: difficulty of cooking games, such as "recipe1+take1+cook+cut+open".
    - ``settings``: settings of the other generators, such as ``{"rewards": "sparse"}``: ``rewards``, ``goal`` and ``test`` of
      "tw-simple"; ``level`` of "tw-coin_collector" and "tw-treasure_hunter"; ``rooms``, ``objects``, ``quests``,
      ``quest_length``, ``quest_breadth``, ``theme`` and ``adjectives`` of "custom".
    - ``num_games``: generated games per split, a number or a mapping from split to number.
    - ``games``: a ``.z8`` file, a folder or a list, played instead of generated games. Files below folders called train,
      valid or test belong to that split, all others to train. ``mise-gym games make DIR`` makes such a folder; that of the
      competition is one. A game of which only the ``.json`` file is there is compiled when it is first played.
    - ``split``: the split that ``reset`` draws from.
    - ``memoise``: whether what was said before, in any episode of this process, is said again from memory. Games have no
      chance in them, so only time and memory (at most about 0.5 GB) depend on it.
    - ``isolate``: ``None``, or "process" to run the interpreter, which is C code, in a process of its own: if it dies or does not
      answer within ``timeout_seconds``, ``step`` raises ``SimulatorCrashed`` and ``reset`` starts another. A turn takes about
      0.2 ms more.
    - ``max_turns``, ``reward_mode``, ``infos``, ``render_mode``: as in every text environment.

    ## Options
    ``reset(options=...)`` knows ``game`` (a number in the split, a name as in ``info["task_id"]``, or a path) and ``split``.

    ## Splits
    ``train``, ``valid`` and ``test`` hold ``num_games`` generated games each, made from seeds that do not overlap. Given games
    belong to the split that their folder names.

    ## Seeding
    The seed decides which game is drawn; the games themselves have no chance in them. The same seed, or the same ``game``,
    and the same actions give the same transcript. Generated games are the same on every machine.

    ## Differences from upstream
    - Gymnasium's interface; ``textworld.gym`` returns four values, and the score so far in place of the reward.
    - A step limit is ``truncated``, not the end of the game. Which game comes is decided by the seed, not by a fixed order.
    - One action is one command. TextWorld plays "look. inventory" as two and loses track of the world; "save" writes into the
      working directory; a NUL byte ends or hangs the Python process.
    - The logo and the status bar are left out of the text; otherwise it is what TextWorld prints.
    - What ``infos`` does not ask for is not computed, and a reset does not load the game again.

    ## Version history
    - v0: first version.

    ## References
    - Côté et al., "TextWorld: A Learning Environment for Text-based Games", arXiv:1806.11532.
    - First TextWorld Problems, the competition: https://aka.ms/ftwp
    """

    available_infos: ClassVar[tuple[str, ...]] = (
        "admissible_commands",
        "policy_commands",
        "intermediate_reward",
        "facts",
        "look",
        "inventory",
        "walkthrough",
    )
    known_options: ClassVar[tuple[str, ...]] = ("game", "split")

    def __init__(  # noqa: PLR0913  # every argument is a keyword of gym.make
        self,
        *,
        challenge: str = "tw-simple",
        level: str | None = None,
        settings: Mapping[str, Any] | None = None,
        games: str | Path | Sequence[str | Path] | None = None,
        num_games: int | Mapping[str, int] = 100,
        split: str = "train",
        memoise: bool = True,
        isolate: Literal["process"] | None = None,
        timeout_seconds: float = 10.0,
        max_turns: int | None = 50,
        reward_mode: RewardMode = "sparse",
        infos: Sequence[str] = (),
        render_mode: str | None = None,
    ) -> None:
        super().__init__(max_turns=max_turns, reward_mode=reward_mode, infos=infos, render_mode=render_mode)
        self.split = check_split(split)
        family = game_family(challenge, level, settings)
        self._source: GameSource = GeneratedGames(family, num_games) if games is None else GivenGames(games)
        if games is not None and (level is not None or settings is not None):
            raise ConfigError("Give either games, or level and settings for games to be made, not both.")
        self._memoise = memoise
        self._interpreters = _interpreters(isolate, timeout_seconds)
        self._session: GameSession | None = None

    def find_out(self, name: str) -> Any:
        """Return one of ``available_infos`` for the current moment, whether or not ``infos`` has it.

        Raises:
            UnknownNameError: It is none of them.
            MiseError: No game is being played.
            SimulatorCrashed: The interpreter died; ``reset`` starts a new one.
        """
        if name not in self.available_infos:
            raise unknown_name("info", name, list(self.available_infos))
        return self._extra(name)

    def expert_actions(self) -> list[str]:
        """Return commands that win the current game from its start.

        In a cooking game they begin with reading the cookbook, so that what is done follows from what was read.

        Raises:
            MiseError: No game is being played, or this one came without a solution.
        """
        session = self._playing()
        solution = session.solution()
        if solution:
            return solution
        raise MiseError(f"The game {session.path.name!r} came without a solution. Choose a generated game.")

    def close(self) -> None:
        """Let go of the game; a second call does nothing."""
        super().close()
        self._release()
        if isinstance(self._interpreters, IsolatedInterpreters):
            self._interpreters.close()

    def _start(self, options: Mapping[str, Any]) -> tuple[Task, Scene]:
        split, path = choose_game(self._source, options.get("game"), options.get("split"), self.split, self.np_random)
        self._release()
        self._session = GameSession(path, memoise=self._memoise, interpreters=self._interpreters)
        return Task(goal=self._session.goal, task_id=path.stem, split=split), self._scene_now()

    def _act(self, action: str) -> Scene:
        self._attempt(lambda session: session.play(action))
        return self._scene_now()

    def _extra(self, name: str) -> Any:
        return self._attempt(lambda session: getattr(session, name)())

    def _info(self, scene: Scene) -> dict[str, Any]:
        return {**super()._info(scene), "refused_actions": self._playing().refused_actions}

    def _attempt(self, ask: Callable[[GameSession], Any]) -> Any:
        """Ask the session for something; if the simulator dies of it, the episode is gone."""
        try:
            return ask(self._playing())
        except SimulatorCrashed:
            self._session, self._scene = None, None
            raise

    def _scene_now(self) -> Scene:
        session = self._playing()
        exchange = session.exchange
        share = exchange.score / session.max_score if session.max_score else 0.0
        progress = 1.0 if exchange.is_won else min(max(share, 0.0), 1.0)
        return Scene(
            text=exchange.text,
            score=exchange.score,
            max_score=session.max_score,
            progress=progress,
            terminated=exchange.is_won or exchange.is_lost,
            valid_action=exchange.is_understood,
        )

    def _playing(self) -> GameSession:
        if self._session is None:
            raise MiseError("No game is being played. Call reset() first.")
        return self._session

    def _release(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None


def _interpreters(isolate: str | None, timeout_seconds: float) -> Interpreters:
    """Return where an environment takes its interpreters from."""
    if isolate not in (None, "process"):
        raise unknown_name("isolation", isolate, ["process"])
    if not timeout_seconds > 0:
        raise ConfigError(f"timeout_seconds is {timeout_seconds!r}; it must be above 0.")
    return INTERPRETERS if isolate is None else IsolatedInterpreters(timeout_seconds)
