"""TransformersJudge: a local causal language model as a judge."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from mise_gym.errors import ConfigError
from mise_gym.extras import require
from mise_gym.rewards.base import JudgeResult, JudgeStatus
from mise_gym.rewards.judges.turn_answers import Answer, Job, TurnReader, TurnWriter
from mise_gym.rewards.judges.turn_prompt import TurnPrompt, Window
from mise_gym.types import Episode

if TYPE_CHECKING:
    from mise_gym.llm.branches import Memory

Mode = Literal["read", "write"]

_PROMPTS: Final = {"read": "read_v1.txt", "write": "write_v1.txt"}
_UNLIMITED: Final = 1_000_000


class TransformersJudge:
    """Asks a local language model about every turn: did this action bring the agent closer to the task?

    ``"read"`` takes the probability of "good" against "bad" as the answer. Every token of an episode is read once: the
    questions stand behind the transcript and cannot see each other, so each is answered as if it had been asked alone.
    ``"write"`` has the model write a line of JSON for every turn, which is many times slower and lets any prompt be used; a reply
    that is not exactly that line with a score in [0, 1] makes the episode "unparsable".

    A finished episode is judged in hindsight: every question sees all turns and the outcome. In ``step`` delivery the episode
    still runs; a turn is then judged from the turns so far, what was read is remembered until the next turn, and only the new
    turn is read. A chat template of the tokenizer is used. Episodes that are longer than the model reads are cut into windows,
    each with the task and the outcome.

    Args:
        model: A folder written by ``save_pretrained``, or an id on the Hugging Face hub.
        mode: ``"read"`` or ``"write"``.
        device: Where the model runs, as torch says it ("cpu", "cuda:1"); ``None`` is a GPU if there is one.
        dtype: Type of the weights: "float32", "bfloat16", "float16", or "auto" for the one that they were saved in.
        prompt: A text file with your own prompt; ``None`` is the built-in one (``mise_gym/rewards/judges/prompts``).
        max_tokens: Longest prompt; ``None`` is what the model can read, at most 8192.
        max_text_tokens: Longest task, action or observation; longer ones lose their middle.
        max_new_tokens: Longest written reply in tokens.
        batch_tokens: Largest number of tokens read together. Lower it when the GPU's memory is too small.
        remembered: Running episodes whose keys and values are kept, in the memory of the device; the oldest of more are read from
            their beginning again. Give at least the number of environments.
        clock: Seconds from anywhere; measures the cost.

    Raises:
        ConfigError: An argument is wrong, the model cannot be loaded, or it cannot be used in this mode.
        MissingExtraError: torch or transformers is not installed.

    Note:
        Quoting keeps the text of an agent inside its field, but no quoting keeps a model from being persuaded by what it reads.
        The calibrator pays for what scores say about outcomes, and ``HackingAlarm`` watches for the rest.

    References:
        Liu et al., "G-Eval: NLG evaluation using GPT-4 with better human alignment", EMNLP 2023, for scores from token
        probabilities.
    """

    name = "transformers"

    def __init__(  # noqa: PLR0913  # knobs, keyword-only but for the first
        self,
        model: str,
        *,
        mode: Mode = "read",
        device: str | None = None,
        dtype: str = "float32",
        prompt: str | None = None,
        max_tokens: int | None = None,
        max_text_tokens: int = 128,
        max_new_tokens: int = 48,
        batch_tokens: int = 16_384,
        remembered: int = 64,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._settings = {name: value for name, value in locals().items() if name not in ("self", "model")}
        numbers = [max_text_tokens, max_new_tokens, batch_tokens, remembered, *([] if max_tokens is None else [max_tokens])]
        if mode not in get_args(Mode) or min(numbers) < 1:
            raise ConfigError(
                f"TransformersJudge got mode={mode!r}, max_tokens={max_tokens!r}, max_text_tokens={max_text_tokens!r}, "
                f"max_new_tokens={max_new_tokens!r}, batch_tokens={batch_tokens!r}, remembered={remembered!r}. "
                "Give 'read' or 'write', and numbers of at least 1."
            )
        self._folder, self.mode, self.remembered, self._clock = model, mode, remembered, clock
        weights, tokenizer = _load(model, dtype, device)
        limit = getattr(weights.config, "max_position_embeddings", None) or _UNLIMITED
        with as_file(files("mise_gym.rewards.judges.prompts") / _PROMPTS[mode]) as built_in:
            path = built_in if prompt is None else Path(prompt)
            longest = min(limit, max_tokens or 8192) - (max_new_tokens if mode == "write" else 0)
            self.prompt = TurnPrompt(tokenizer, path, longest, max_text_tokens)
        self.device = str(weights.device)
        """Where the model runs."""
        self._asker: TurnReader | TurnWriter
        if mode == "read":
            self._asker = TurnReader(weights, tokenizer, batch_tokens)
        else:
            self._asker = TurnWriter(weights, tokenizer, batch_tokens, max_new_tokens)
        self._running: OrderedDict[Hashable, _Running] = OrderedDict()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the settings; a copy loads the model again."""
        return _rebuild, (self._folder, self._settings)

    def judge(self, episodes: Sequence[Episode]) -> list[JudgeResult]:
        """Return the scores of every episode; all are read in as few batches as fit."""
        started = self._clock()
        plans = [self._plan(episode) for episode in episodes]
        jobs = [job for plan in plans for job in plan.jobs]
        answers = iter(self._asker.ask(jobs))
        results = [self._result(plan, [next(answers) for _ in plan.jobs]) for plan in plans]
        while len(self._running) > self.remembered:
            self._running.popitem(last=False)
        seconds = (self._clock() - started) / max(len(episodes), 1)
        return [replace(result, seconds=seconds) for result in results]

    def prompts(self, episode: Episode) -> list[str]:
        """Return what the model would read of an episode, one text per window: the transcript, then every question."""
        has_ended = episode.terminated or episode.truncated
        jobs = [self._job(episode, window, _NOTHING, has_ended) for window in self.prompt.windows(episode)]
        decode = self.prompt.tokenizer.decode
        return ["\n".join([decode(job.trunk), *(decode(question) for question in job.questions)]) for job in jobs]

    def _plan(self, episode: Episode) -> "_Plan":
        """Decide what has to be asked about an episode, given what is remembered of it."""
        if not len(episode):
            return _Plan(episode, [], (), has_ended=True)
        has_ended = episode.terminated or episode.truncated
        known = self._running.pop(_key(episode, len(episode) - 1), _NOTHING)
        scores = () if has_ended else known.scores
        windows = self.prompt.windows(episode)
        jobs = [self._job(episode, window, known, has_ended) for window in windows if window.turns.stop > len(scores)]
        return _Plan(episode, jobs, scores, has_ended)

    def _job(self, episode: Episode, window: Window, known: "_Running", has_ended: bool) -> Job:
        """Ask about the turns of one window that have no score yet."""
        turns = window.turns if has_ended else range(max(window.turns.start, len(known.scores)), window.turns.stop)
        trunk = window.ids + self.prompt.outcome(episode, has_ended=has_ended)
        starts = [len(trunk) if has_ended else window.ends[turn - window.turns.start] for turn in turns]
        questions = [self.prompt.question(turn, episode.transitions[turn].action) for turn in turns]
        is_last = window.turns.stop == len(episode)
        memory = known.memory if window.turns.start == known.window_start and is_last else None
        return Job(trunk, window.turns.start, turns, starts, questions, memory, remember=is_last and not has_ended)

    def _result(self, plan: "_Plan", answers: list[Answer]) -> JudgeResult:
        calls, tokens = sum(answer.calls for answer in answers), sum(answer.tokens for answer in answers)
        failed = next((answer.message for answer in answers if answer.message), "")
        if failed:
            return JudgeResult(status=JudgeStatus.UNPARSABLE, message=failed, calls=calls, tokens=tokens)
        scores = (*plan.scores, *(score for answer in answers for score in answer.scores))
        if not plan.has_ended:
            last = plan.jobs[-1]
            self._running[_key(plan.episode, len(plan.episode))] = _Running(scores, last.window_start, answers[-1].memory)
        return JudgeResult(scores=scores, calls=calls, tokens=tokens)


@dataclass(frozen=True, slots=True)
class _Running:
    """What is remembered of a running episode."""

    scores: tuple[float, ...]
    window_start: int
    memory: "Memory | None"


_NOTHING: Final = _Running((), -1, None)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What has to be asked about one episode, and the scores that are known already."""

    episode: Episode
    jobs: list[Job]
    scores: tuple[float, ...]
    has_ended: bool


def _key(episode: Episode, turns: int) -> Hashable:
    """Return what tells a running episode of so many turns from others."""
    texts = ((turn.action, turn.next_observation) for turn in episode.transitions[:turns])
    return episode.task, episode.transitions[0].observation, *texts


def _load(folder: str, dtype: str, device: str | None) -> tuple[Any, Any]:
    torch = require("torch")
    require("transformers")
    from mise_gym.llm.loading import load_model

    model, tokenizer = load_model(folder, dtype)
    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return model.to(place).eval().requires_grad_(False), tokenizer
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built for the device
        reason = str(error).splitlines()[0]
        raise ConfigError(f"The judge's model cannot be put on device={place!r}: {reason}. Give another device.") from error


def _rebuild(folder: str, settings: dict[str, Any]) -> TransformersJudge:
    return TransformersJudge(folder, **settings)
