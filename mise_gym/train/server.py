"""Actions written by another process: a server that continues token sequences and tells its log-probabilities.

The learner keeps the weights; the server has a copy that is as old as the last ``sync``.
"""

import asyncio
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import uuid4

import numpy as np

from mise_gym.errors import ChatError, ConfigError
from mise_gym.llm.background import BackgroundLoop
from mise_gym.llm.budget import Budget, Purse, Spending
from mise_gym.llm.completions import AdapterRequest, CompletionRequest
from mise_gym.llm.endpoint import Endpoint
from mise_gym.llm.http import HttpChatClient, Request
from mise_gym.llm.limits import Limits
from mise_gym.llm.retry import Retry
from mise_gym.train.forms import Form, Forms
from mise_gym.train.policy import LLMPolicy
from mise_gym.train.ranges import check_ranges
from mise_gym.train.trace import Decision, TokenTrace

logger = logging.getLogger(__name__)

IN_PROCESS: Final = "in-process"
"""Value of the setting ``generator`` for no server."""

STOPS: Final = ("\n", "</action>")
"""Where a server pauses. What was written so far is looked at here, and continued if the turn is not finished."""

Reply = TypeVar("Reply")


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """The server that writes the actions when ``generator`` is an address."""

    model: str = "base"
    """Name under which it serves the warm-started model."""
    concurrency: int = 64
    """Requests that run at the same time."""
    timeout_seconds: float = 120.0
    """The longest that an answer may take; a request is repeated five times."""
    sync_every: int = 1
    """Iterations from one sending of the adapter to the next; 0 never sends it, and the server plays as it was started."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_ranges("server", self, "concurrency", least=1)
        check_ranges("server", self, "sync_every", "timeout_seconds")


class Server:
    """A connection to a server that generates.

    Args:
        url: Its address, which usually ends in ``/v1``.
        config: Which model, and how to ask for it.
        folder: Where adapters are written for it; it must see them under the same path.
    """

    def __init__(self, url: str, config: ServerConfig, folder: Path) -> None:
        self.config = config
        self.model = config.model
        """Name of what is asked: the served model, or the newest adapter on it."""
        self._folder = folder
        self._endpoint = Endpoint(config.model, url)
        self._loop = BackgroundLoop()
        self._client = self._loop.run(self._connect())

    @property
    def has_adapter(self) -> bool:
        """Whether an adapter was sent."""
        return self.model != self.config.model

    def ask(self, requests: Sequence[Request[Reply]]) -> list[Reply]:
        """Send requests at the same time and return the answers in their order.

        Raises:
            ConfigError: The server cannot be used; the message says what to start.
        """
        try:
            return self._loop.run(self._gather(requests))
        except ChatError as error:
            raise ConfigError(
                f"The server did not do as it was asked: {error} It has to serve the warm-started model, which is the folder "
                f"'warm_start' of the run, as {self.config.model!r} (docs/generation.md). Then call the run again: it goes on."
            ) from error

    def sync(self, policy: LLMPolicy) -> None:
        """Send the policy's adapter, under a new name, so that no cache of the server mixes up two versions.

        Raises:
            ConfigError: The policy has no adapter, or the server does not load it.
        """
        if policy.adapter is None:
            raise ConfigError(
                "A server can be sent adapters, not whole models, and this run trains all weights. Train an adapter "
                "(--lora.rank 16), or let the server play with the weights it was started with (--server.sync-every 0)."
            )
        name = f"adapter-{uuid4().hex[:12]}"
        policy.adapter.save_pretrained(self._folder / name)
        self.ask([AdapterRequest(name=name, folder=str((self._folder / name).resolve()))])
        self._forget()
        self.model = name

    def close(self) -> None:
        """Unload the adapter, if the server is still there, and close the connections; calling it again does nothing."""
        if not self._loop.is_alive:
            return
        try:
            self._forget()
        except ConfigError as error:
            logger.warning("The server keeps the adapter %s. %s", self.model, error)
        self._loop.close()

    def _forget(self) -> None:
        if self.has_adapter:
            self.ask([AdapterRequest(name=self.model, folder=None)])
            shutil.rmtree(self._folder / self.model)
            self.model = self.config.model

    async def _connect(self) -> HttpChatClient:
        client = HttpChatClient(
            self._endpoint,
            retry=Retry(timeout_seconds=self.config.timeout_seconds),
            limits=Limits(concurrency=self.config.concurrency),
            purse=Purse(Budget(), Spending()),
        )
        return await self._loop.resources.enter_async_context(client)

    async def _gather(self, requests: Sequence[Request[Any]]) -> list[Any]:
        return list(await asyncio.gather(*(self._client.ask(request, Spending()) for request in requests)))


class ServerWriter:
    """Lets a server write the actions of a batch of episodes; see ``ActionWriter``.

    Args:
        server: Who writes.
        forms: What may be written; it must be free.
        policy: Whose text it is; its weights are not used.
        openings: Token ids before the first action, one list per row.
        seeds: One per row; the server is asked with numbers drawn from it.
        temperature: 1 samples from the policy, 0 takes the likeliest token.
    """

    def __init__(
        self,
        server: Server,
        forms: Forms,
        policy: LLMPolicy,
        openings: Sequence[list[int]],
        seeds: Sequence[int],
        temperature: float,
    ) -> None:
        self.traces = [TokenTrace(list(opening)) for opening in openings]
        self._server = server
        self._forms = forms
        self._text = policy.text
        self._temperature = temperature
        self._rngs = [np.random.default_rng(seed) for seed in seeds]
        self._running = list(range(len(openings)))

    def act(self, commands: Sequence[Sequence[str]]) -> list[str]:
        """Write the next action of every running row, by as many rounds of requests as the longest turn has lines.

        Raises:
            ConfigError: The server cannot be used.
        """
        forms = {row: self._forms(self._text, choices) for row, choices in zip(self._running, commands, strict=True)}
        starts = {row: len(self.traces[row].ids) for row in forms}
        for row, start in starts.items():
            self.traces[row].value_positions.append(start - 1)
        while unfinished := [row for row, form in forms.items() if form.allowed() is None]:
            completions = self._server.ask([self._request(row, starts[row]) for row in unfinished])
            for row, completion in zip(unfinished, completions, strict=True):
                self._take(row, forms[row], completion.ids, completion.logprobs)
        for row, form in forms.items():
            self.traces[row].writings.append(form.writing())
        return [self.traces[row].writings[-1].action for row in forms]

    def observe(self, keep: Sequence[int], observations: Sequence[list[int]]) -> None:
        """Append what came back, and drop finished rows."""
        for row, observation in zip(self._running, observations, strict=True):
            self.traces[row].ids += observation
        self._running = [self._running[place] for place in keep]

    def _request(self, row: int, start: int) -> CompletionRequest:
        ids = self.traces[row].ids
        return CompletionRequest(
            model=self._server.model,
            prompt=ids,
            max_tokens=self._forms.max_action_tokens - (len(ids) - start),
            temperature=self._temperature,
            stop=STOPS,
            stop_token_ids=sorted(self._text.frame.end_ids),
            seed=int(self._rngs[row].integers(2**31)),
        )

    def _take(self, row: int, form: Form, ids: Sequence[int], logprobs: Sequence[float]) -> None:
        """Note the server's tokens up to the end of the turn, and the line break that may be missing."""
        trace = self.traces[row]
        if not ids:
            raise ConfigError("The server answered without a single token. It must return the tokens that end a text, too.")
        for token, logprob in zip(ids, logprobs, strict=True):
            if form.allowed() is not None:
                break
            trace.decisions.append(Decision(len(trace.ids), len(trace.value_positions) - 1, None, token, logprob))
            trace.ids.append(token)
            form.take(token)
        while forced := form.allowed():
            trace.ids += forced
            form.take(forced[0])
