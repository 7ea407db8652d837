"""HttpLogprobJudge: expected scores from the token probabilities of an OpenAI-compatible endpoint."""

from typing import ClassVar

from mise_gym.rewards.judges.answers import DigitsAnswer, ScoresAnswer
from mise_gym.rewards.judges.http import HttpJudge


class HttpLogprobJudge(HttpJudge):
    """Asks for a digit per turn, and takes the expectation over the probabilities of all ten digits, divided by 9.

    A model that wavers between 4 and 5 thus says so, where its written answer would be one of the two. The endpoint must give
    ``logprobs``; many give 20 alternatives per token, and ``parameters={"top_logprobs": 5}`` asks for fewer. Where the ten digits
    together have less than half of the probability at a score, the answer is "unparsable". All else is as in the judge ``http``,
    whose arguments it takes.

    References:
        Y. Liu et al., "G-Eval", arXiv 2303.16634, equation 1 (scores weighted by token probabilities).
    """

    name = "http-logprob"
    _format: ClassVar[type[ScoresAnswer]] = DigitsAnswer
