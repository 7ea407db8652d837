"""Wrappers that turn text environments into what an agent can read and write.

Text stays text in ``History``, ``AdmissibleCommands``, ``ActionParser`` and ``RecordTrajectories``; ``ChatMessages`` speaks the
chat format of language models; ``AdmissibleIndexAction``, ``HashedText`` and ``EmbeddedText`` speak numbers for classic
learners.
"""

from mise_gym.envs.wrappers.action_parser import ActionParser, parse_action
from mise_gym.envs.wrappers.admissible import AdmissibleCommands, AdmissibleIndexAction
from mise_gym.envs.wrappers.chat_messages import ChatMessages
from mise_gym.envs.wrappers.history import History
from mise_gym.envs.wrappers.recording import RecordTrajectories
from mise_gym.envs.wrappers.replaying import first_difference, remake, replay
from mise_gym.envs.wrappers.text_vectors import EmbeddedText, HashedText

__all__ = [
    "ActionParser",
    "AdmissibleCommands",
    "AdmissibleIndexAction",
    "ChatMessages",
    "EmbeddedText",
    "HashedText",
    "History",
    "RecordTrajectories",
    "first_difference",
    "parse_action",
    "remake",
    "replay",
]
