"""Where and how a run writes its actions: in this process or on a server, chosen or free, with thoughts or without."""

from collections.abc import Sequence
from typing import Protocol

from mise_gym.train.config import TrainConfig
from mise_gym.train.decoding import TurnDecoder
from mise_gym.train.forms import Forms
from mise_gym.train.policy import LLMPolicy
from mise_gym.train.server import IN_PROCESS, Server, ServerWriter
from mise_gym.train.trace import ActionWriter


class Writers(Protocol):
    """Makes writers, and keeps what they need."""

    def begin(self, policy: LLMPolicy, openings: Sequence[list[int]], seeds: Sequence[int], temperature: float) -> ActionWriter:
        """Return the writer of a batch of episodes; see ``trace.BeginWriting``."""
        ...

    def sync(self, policy: LLMPolicy, iteration: int) -> None:
        """Bring the weights that write up to those of the policy.

        Args:
            policy: What the learner has.
            iteration: Iterations done.
        """
        ...

    def close(self) -> None:
        """Let go of what is held; calling it again does nothing."""
        ...


class LocalWriters:
    """The policy itself writes, in this process.

    Args:
        forms: What may be written.
    """

    def __init__(self, forms: Forms) -> None:
        self._forms = forms

    def begin(self, policy: LLMPolicy, openings: Sequence[list[int]], seeds: Sequence[int], temperature: float) -> ActionWriter:
        """Return the decoder of a batch of episodes."""
        return TurnDecoder(policy, openings, seeds, temperature, self._forms)

    def sync(self, policy: LLMPolicy, iteration: int) -> None:
        """Do nothing: there is one copy of the weights."""

    def close(self) -> None:
        """Do nothing."""


class ServerWriters:
    """A server writes.

    Args:
        forms: What may be written; it must be free.
        server: Who writes.
    """

    def __init__(self, forms: Forms, server: Server) -> None:
        self._forms = forms
        self._server = server

    def begin(self, policy: LLMPolicy, openings: Sequence[list[int]], seeds: Sequence[int], temperature: float) -> ActionWriter:
        """Return the writer of a batch of episodes."""
        return ServerWriter(self._server, self._forms, policy, openings, seeds, temperature)

    def sync(self, policy: LLMPolicy, iteration: int) -> None:
        """Send the adapter, if it is time to."""
        every = self._server.config.sync_every
        if every and (iteration % every == 0 or not self._server.has_adapter):
            self._server.sync(policy)

    def close(self) -> None:
        """Close the connection."""
        self._server.close()


def make_writers(config: TrainConfig) -> Writers:
    """Return what writes the actions of a run."""
    forms = Forms(config.decoding, config.thinking, config.max_action_tokens)
    if config.generator == IN_PROCESS:
        return LocalWriters(forms)
    return ServerWriters(forms, Server(config.generator, config.server, config.run_dir / "adapters"))
