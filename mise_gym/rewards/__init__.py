"""Rewards in hindsight: a judge scores every turn, a calibrator aligns scores with outcomes, the mix is the reward."""

from mise_gym.rewards.alarm import HackingAlarm
from mise_gym.rewards.base import Calibrator, Judge, JudgeResult, JudgeStatus, RewardBreakdown
from mise_gym.rewards.catalog import CALIBRATORS, JUDGES, make_calibrator, make_judge
from mise_gym.rewards.judges.self_evaluation import SelfEvaluationJudge
from mise_gym.rewards.pipeline import RewardPipeline
from mise_gym.rewards.vector_wrapper import MISERewardVectorWrapper
from mise_gym.rewards.wrapper import MISERewardWrapper

__all__ = [
    "CALIBRATORS",
    "JUDGES",
    "Calibrator",
    "HackingAlarm",
    "Judge",
    "JudgeResult",
    "JudgeStatus",
    "MISERewardVectorWrapper",
    "MISERewardWrapper",
    "RewardBreakdown",
    "RewardPipeline",
    "SelfEvaluationJudge",
    "make_calibrator",
    "make_judge",
]
