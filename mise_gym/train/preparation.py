"""How a model becomes a policy: placed, given its critic, and an adapter where only that is trained."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mise_gym.errors import ConfigError
from mise_gym.extras import require
from mise_gym.train.adapter import Adapter
from mise_gym.train.config import TrainConfig
from mise_gym.train.placement import check_attention, find_device, place
from mise_gym.train.policy import LLMPolicy, Reader
from mise_gym.train.reference import reference_of
from mise_gym.train.sharding import check_sharding, shard


def check_placement(config: TrainConfig) -> None:
    """Check, before anything is computed, that the model can run here as it is asked to.

    Raises:
        ConfigError: There is no such device, or no such attention, or weights are to be sharded and cannot be.
        MissingExtraError: An adapter is asked for, and peft is not installed.
    """
    find_device(config.model_config.device)
    check_attention(config.model_config.attention)
    if config.lora.is_used:
        require("peft")
    if config.model_config.is_sharded:
        check_sharding()


def make_policy(model: Any, tokenizer: Any, config: TrainConfig) -> LLMPolicy:
    """Return the policy of a run, with all of the model's weights trained and no adapter yet.

    Args:
        model: A causal language model; placed in place, on the CPU if it will be sharded.
        tokenizer: Its tokenizer.
        config: The run's settings.

    Raises:
        ConfigError: Its chat template or its logits are not such as the trainer can follow.
    """
    settings = config.model_config
    if settings.is_sharded:
        settings = replace(settings, device="cpu")
    place(model, settings, is_trained=not config.lora.is_used)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        policy = LLMPolicy(
            model,
            tokenizer,
            config.max_observation_tokens,
            config.ppo.critic,
            computes_in_bfloat16=config.model_config.dtype == "bfloat16",
            max_tokens_per_pass=config.model_config.max_tokens_per_pass,
            thinking=config.thinking,
            chat_template=config.chat_template,
        )
    check_logits(policy)
    return policy


@torch.no_grad()
def check_logits(policy: LLMPolicy) -> None:
    """Check, on a few tokens, that the policy reads the logits that its model computes.

    Raises:
        ConfigError: The model changes them behind its output layer, and not by a soft cap.
    """
    ids = torch.arange(8, device=policy.device)[None]
    found = policy.logits(policy.features(ids)[0])
    expected = policy.model(input_ids=ids, use_cache=False).logits[0].float()
    if (found - expected).std() > 0.1 * expected.std():  # rounding in bfloat16 stays below
        raise ConfigError(
            f"{type(policy.model).__name__} changes its logits behind the output layer in a way that the trainer does not know, "
            "so that it would compute other probabilities. Use a model that does not, or has a soft cap only."
        )


@contextmanager
def ready_for_the_warm_start(policy: LLMPolicy, config: TrainConfig) -> Iterator[None]:
    """Make the policy one that can be trained inside: with an adapter, if the run has one, and sharded, if the run is.

    At the end the adapter is merged into the model. So the model that comes out is the warm start itself, in the type of its
    weights: what is saved, evaluated and later compared with (``docs/decisions/0020-adapters.md``).
    """
    adapter = Adapter(policy.model, config.lora, config.seed, has_dropout=True) if config.lora.is_used else None
    if config.model_config.is_sharded:
        shard(policy, find_device(config.model_config.device))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        yield
    if adapter is not None:
        adapter.merge()


def add_adapter(policy: LLMPolicy, config: TrainConfig, folder: Path) -> None:
    """Give the policy the adapter that reinforcement learning trains, if the run has one; it changes nothing yet.

    Args:
        policy: The warm-started policy; changed in place.
        config: The run's settings.
        folder: Where the warm-started model is saved; the saved adapter will name it as its base.
    """
    if config.lora.is_used:
        policy.model.name_or_path = str(folder.resolve())
        policy.adapter = Adapter(policy.model, config.lora, config.seed)


def with_reference(policy: LLMPolicy, config: TrainConfig) -> Reader:
    """Return the policy as it is now, for good, and shard both if the run's weights are sharded.

    Args:
        policy: The warm-started policy.
        config: The run's settings.
    """
    reference = reference_of(policy)
    if config.model_config.is_sharded:
        for each in (policy, reference):
            if isinstance(each, LLMPolicy):  # an adapter that is switched off has no weights of its own
                shard(each, find_device(config.model_config.device))
    return reference
