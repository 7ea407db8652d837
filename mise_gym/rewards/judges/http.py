"""HttpJudge: a language model behind any OpenAI-compatible endpoint."""

import asyncio
import json
import os
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

from mise_gym.errors import ChatError, ConfigError
from mise_gym.extras import require
from mise_gym.llm.background import BackgroundLoop
from mise_gym.llm.budget import Budget, Purse, Spending
from mise_gym.llm.cache import ReplyCache, cache_key
from mise_gym.llm.chat import ChatReply, ChatRequest
from mise_gym.llm.endpoint import Endpoint
from mise_gym.llm.http import HttpChatClient
from mise_gym.llm.limits import Limits
from mise_gym.llm.retry import Retry
from mise_gym.llm.settings import check_at_least, read_settings
from mise_gym.rewards.base import Estimate, JudgeResult, JudgeStatus
from mise_gym.rewards.judges.answers import ScoresAnswer, UnparsableAnswerError, Verdict
from mise_gym.rewards.judges.prompting import Prompt
from mise_gym.rewards.judges.transcript import Window, outcome, quoted, windows
from mise_gym.types import Episode

_PARAMETERS: Final = {"temperature": 0.0, "max_tokens": 2048}
_OURS: Final = frozenset({"model", "messages", "response_format", "stream", "n"})
_OPENING: Final = threading.Lock()
"""Held while a judge opens its connections, so that threads that share the judge share them; outside, so that judges pickle."""


@dataclass(frozen=True, slots=True)
class _Session:
    """What lives as long as the connections."""

    loop: BackgroundLoop
    client: HttpChatClient
    cache: ReplyCache | None


class HttpJudge:
    """Asks a language model behind an OpenAI-compatible endpoint for one score per turn, in one request per episode.

    Long episodes are cut into windows, one request each; the task and the outcome stand in every window and every turn is in
    exactly one. What agent and environment wrote is quoted as JSON and bounded in length. The answer must be one JSON object
    that names every turn; a code fence around it or reasoning that ends in ``</think>`` before it are accepted, and nothing else.
    A bad answer is shown to the model with what is wrong, and after ``repairs`` attempts the episode is "unparsable". No score
    is ever guessed, clamped or filled in.

    All episodes of a call are judged at the same time, within ``limits``. ``judge`` waits for the results, ``judge_async``
    awaits them; both use the same connections, in a thread that ends with ``close`` or with the judge.

    Args:
        model: Name of the model; ``None`` reads ``OPENAI_MODEL``.
        base_url: Address that ends before ``/chat/completions``; ``None`` reads ``OPENAI_BASE_URL``.
        api_key: ``None`` reads ``OPENAI_API_KEY``. The key is never recorded: a spec or a pickle leaves it out and its reader
            looks into the environment.
        prompt: Name of a prompt that comes with the package, or the path of a ``.txt`` file of your own.
        reasons: Whether the model says why in a sentence per turn, which ``JudgeResult.reasons`` then holds.
        parameters: Sampling parameters of the request, beside ``temperature=0`` and ``max_tokens=2048``; ``None`` as a value
            leaves a parameter out.
        retry: Settings of ``mise_gym.llm.retry.Retry``: ``retries``, ``timeout_seconds``, ``first_wait_seconds``,
            ``longest_wait_seconds``.
        limits: Settings of ``mise_gym.llm.limits.Limits``: ``concurrency``, ``requests_per_minute``, ``tokens_per_minute``.
        budget: Settings of ``mise_gym.llm.budget.Budget``: ``calls``, ``tokens``, ``cost``, ``input_price``, ``output_price``
            (of a million tokens). No request is sent that could exceed it; the episode's status is then "budget".
        cache: An SQLite file for replies, which processes can share; ``None`` keeps none. Only well-formed answers are kept, by
            model, parameters, prompt text and the text of the window.
        repairs: How often a bad answer is asked for again.
        window_turns: Most turns per request.
        window_characters: Most characters of turns per request.

    Raises:
        ConfigError: A setting is wrong or missing.
        UnknownNameError: No such prompt, or a setting in ``retry``, ``limits`` or ``budget`` is misspelt.
        MissingExtraError: httpx is not installed.
    """

    name = "http"
    _format: ClassVar[type[ScoresAnswer]] = ScoresAnswer

    def __init__(  # noqa: PLR0913  # one flat signature, so that a spec is readable
        self,
        model: str | None = None,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        prompt: str = "hindsight_v1",
        reasons: bool = False,
        parameters: Mapping[str, Any] | None = None,
        retry: Retry | Mapping[str, Any] | None = None,
        limits: Limits | Mapping[str, Any] | None = None,
        budget: Budget | Mapping[str, Any] | None = None,
        cache: str | os.PathLike[str] | None = None,
        repairs: int = 1,
        window_turns: int = 40,
        window_characters: int = 24_000,
    ) -> None:
        require("httpx")
        check_at_least(0, "setting", repairs=repairs)
        check_at_least(1, "setting", window_turns=window_turns, window_characters=window_characters)
        self._answers = self._format(reasons)
        self._endpoint = Endpoint(model, base_url, api_key)
        self._prompt = Prompt(prompt)
        self._parameters = _checked_parameters(_PARAMETERS | dict(parameters or {}))
        self._retry = read_settings(Retry, retry, "retry setting")
        self._limits = read_settings(Limits, limits, "limit")
        self._budget = read_settings(Budget, budget, "budget")
        self._cache_path = cache
        self._repairs = repairs
        self._window_turns = window_turns
        self._window_characters = window_characters
        self.spent = Spending()
        """What this judge has cost so far."""
        self._session: _Session | None = None
        self._check_that_the_budget_holds()

    def judge(self, episodes: Sequence[Episode]) -> list[JudgeResult]:
        """Return one result per episode, all judged at the same time."""
        session = self._open()
        return session.loop.run(self._judge_all(session, episodes))

    async def judge_async(self, episodes: Sequence[Episode]) -> list[JudgeResult]:
        """Do the same without blocking the caller's event loop."""
        session = self._open()
        return await session.loop.run_async(self._judge_all(session, episodes))

    def estimate(self, episodes: Sequence[Episode]) -> Estimate:
        """Return what judging these episodes would take; nothing is sent.

        Tokens are estimated from the number of characters, and repeated requests are not foreseen.
        """
        requests = [(window, self._request(episode, window)) for episode in episodes for window in self._windows(episode)]
        cache = None if self._cache_path is None else ReplyCache(self._cache_path)
        try:
            new = [(window, request) for window, request in requests if cache is None or cache.get(self._key(request)) is None]
        finally:
            if cache is not None:
                cache.close()
        input_tokens = sum(request.expected_input_tokens for _, request in new)
        output_tokens = sum(self._answers.expected_tokens(len(window.lines)) for window, _ in new)
        return Estimate(
            episodes=len(episodes),
            requests=len(new),
            cached=len(requests) - len(new),
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cost=self._budget.call(input_tokens, output_tokens).cost,
        )

    def prompts(self, episode: Episode) -> list[str]:
        """Return what would be sent about an episode, one text per request: address, parameters and messages."""
        texts = []
        for window in self._windows(episode):
            request = self._request(episode, window)
            body = request.body(self._endpoint.model, with_schema=True)
            messages = body.pop("messages")
            parts = [f"[{message['role']}]\n{message['content']}" for message in messages]
            texts.append("\n\n".join([f"POST {self._endpoint.url(request.path)}\n{json.dumps(body)}", *parts]))
        return texts

    def close(self) -> None:
        """Close the connections and the cache; the next call opens them again."""
        if self._session is not None:
            self._session.loop.close()
            self._session = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._endpoint!r}, prompt={self._prompt.version!r})"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_session": None}

    def _open(self) -> _Session:
        """Return the session, a new one on the first call, after ``close`` and in a process that was forked off."""
        with _OPENING:
            if self._session is None or not self._session.loop.is_alive:
                cache = None if self._cache_path is None else ReplyCache(self._cache_path)
                loop = BackgroundLoop()
                self._session = _Session(loop, loop.run(self._connect(loop, cache)), cache)
                weakref.finalize(self, loop.close)
            return self._session

    async def _connect(self, loop: BackgroundLoop, cache: ReplyCache | None) -> HttpChatClient:
        if cache is not None:
            loop.resources.enter_context(cache)
        purse = Purse(self._budget, self.spent)
        client = HttpChatClient(self._endpoint, retry=self._retry, limits=self._limits, purse=purse)
        return await loop.resources.enter_async_context(client)

    async def _judge_all(self, session: _Session, episodes: Sequence[Episode]) -> list[JudgeResult]:
        return list(await asyncio.gather(*(self._judge_one(session, episode) for episode in episodes)))

    async def _judge_one(self, session: _Session, episode: Episode) -> JudgeResult:
        """Judge the windows of an episode at the same time; one that fails leaves the episode without scores."""
        account = Spending()
        asked = (self._judge_window(session, episode, window, account) for window in self._windows(episode))
        result = _join(await asyncio.gather(*asked))
        return replace(result, calls=account.calls, tokens=account.tokens, seconds=account.seconds, cost=account.cost)

    async def _judge_window(
        self, session: _Session, episode: Episode, window: Window, account: Spending
    ) -> Verdict | JudgeResult:
        """Return the verdict on a window, from the cache or the model, or a result that says why there is none."""
        request = self._request(episode, window)
        key = self._key(request)
        kept = self._recall(session, key, window)
        if kept is not None:
            return kept
        asked, message = request, ""
        for _ in range(self._repairs + 1):
            try:
                reply = await session.client.ask(asked, account)
                verdict = self._answers.read(reply, window.first, window.last)
            except ChatError as error:
                return JudgeResult(status=JudgeStatus(error.kind), message=str(error))
            except UnparsableAnswerError as error:
                message = f"{error} The model wrote {reply.text!r:.300}."
                asked = _with_complaint(request, reply, str(error))
            else:
                if session.cache is not None:
                    session.cache.put(key, reply.to_json(), model=self._endpoint.model, prompt=self._prompt.version)
                return verdict
        return JudgeResult(status=JudgeStatus.UNPARSABLE, message=message)

    def _recall(self, session: _Session, key: str, window: Window) -> Verdict | None:
        """Return the verdict of a kept reply; one that another version of this package kept may not be readable."""
        kept = None if session.cache is None else session.cache.get(key)
        try:
            return None if kept is None else self._answers.read(ChatReply.from_json(kept), window.first, window.last)
        except (ValueError, KeyError, TypeError):
            return None

    def _windows(self, episode: Episode) -> Iterator[Window]:
        return windows(episode, self._window_turns, self._window_characters)

    def _request(self, episode: Episode, window: Window) -> ChatRequest:
        values = {
            "task": quoted(episode.task, "task"),
            "turns": window.text,
            "first_turn": str(window.first),
            "last_turn": str(window.last),
            "num_turns": str(len(episode)),
            "outcome": outcome(episode),
            "answer": self._answers.instruction(window.first, window.last),
        }
        return ChatRequest(
            messages=self._prompt.messages(values),
            parameters={**self._answers.parameters, **self._parameters},
            schema=self._answers.schema(window.first, window.last),
        )

    def _key(self, request: ChatRequest) -> str:
        """Return what identifies a request: the messages hold the filled prompt, hence the trajectory."""
        body = request.body(self._endpoint.model, with_schema=True)
        return cache_key(body | {"prompt": self._prompt.version})

    def _check_that_the_budget_holds(self) -> None:
        request = ChatRequest(messages=(), parameters=self._parameters)
        if self._budget.counts_tokens and not request.most_output_tokens:
            raise ConfigError(
                "A budget of tokens or money needs a bound on the answers. "
                "Give max_tokens or max_completion_tokens in parameters."
            )


def _checked_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters to send, without those that are ``None``."""
    for name in _OURS & parameters.keys():
        raise ConfigError(f"parameters has {name!r}, which the judge sets itself. Leave it out.")
    check_at_least(1, "parameter", **{name: parameters.get(name) for name in ("max_tokens", "max_completion_tokens")})
    try:
        json.dumps(parameters, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"The parameters {dict(parameters)!r} cannot be sent as JSON: {error}. Give plain values.") from error
    return {name: value for name, value in parameters.items() if value is not None}


def _join(verdicts: Sequence[Verdict | JudgeResult]) -> JudgeResult:
    """Return the result of an episode from those of its windows."""
    scores: tuple[float, ...] = ()
    reasons: tuple[str, ...] = ()
    for verdict in verdicts:
        if isinstance(verdict, JudgeResult):
            return verdict
        scores += verdict.scores
        reasons += verdict.reasons
    return JudgeResult(scores=scores, reasons=reasons)


def _with_complaint(request: ChatRequest, reply: ChatReply, complaint: str) -> ChatRequest:
    """Return the request, continued by a bad answer and by what is wrong with it; both may repeat what an agent wrote."""
    reason = f"This answer cannot be used. The reason, as a JSON string: {quoted(complaint, 'answer')}"
    bad = {"role": "assistant", "content": quoted(reply.text, "answer")}
    told = {"role": "user", "content": f"{reason}\nAnswer again, in the format that was asked for."}
    return replace(request, messages=(*request.messages, bad, told))
