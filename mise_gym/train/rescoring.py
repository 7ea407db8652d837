"""The log-probabilities of written tokens under the learner's own weights, where those of the writer are not to be relied on."""

from dataclasses import replace

import torch

from mise_gym.llm.batching import token_batches
from mise_gym.train.batch import to_batch, with_hindsight
from mise_gym.train.policy import LLMPolicy
from mise_gym.train.reading import read_logprobs
from mise_gym.train.rollout import Rollout


@torch.no_grad()
def rescored(policy: LLMPolicy, rollout: Rollout) -> Rollout:
    """Return the rollout with the policy's log-probabilities in place of the writer's.

    The probability ratio then starts at 1, as if the policy had written the tokens itself. That mends rounding errors of the
    writer. A writer with older weights is taken for the policy, and the difference between the two goes uncorrected.
    """
    sequences = [with_hindsight(policy, e, t) for e, t in zip(rollout.episodes, rollout.traces, strict=True)]
    traces = list(rollout.traces)
    for rows in token_batches([len(sequence.ids) for sequence in sequences], policy.max_tokens_per_pass):
        batch = to_batch(policy, [sequences[row] for row in rows])
        logprobs = iter(read_logprobs(policy, batch).tolist())
        for row in rows:
            decisions = [replace(decision, logprob=next(logprobs)) for decision in traces[row].decisions]
            traces[row] = replace(traces[row], decisions=decisions)
    return replace(rollout, traces=traces)
