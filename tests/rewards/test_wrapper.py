"""MISERewardWrapper: three deliveries, specs, failures, any text environment."""

import gymnasium as gym
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

from mise_gym.errors import ConfigError, JudgeError, UnknownNameError
from mise_gym.rewards import JudgeResult, JudgeStatus, MISERewardWrapper, make_calibrator, make_judge
from mise_gym.spaces import FreeText

CORRIDOR = "tests/Corridor-v0"  # reward 1 at the end; progress rises with every "go east"; at most 12 turns
THREE_ROOMS = {"length": 3}
WALK = ["go east", "wait", "go east", "go east"]
ORACLE_CENTRED = [1.0, 0.0, 1.0, 1.0]  # 2s - 1 for the oracle's 1, 0.5, 1, 1


def wrapped(**options):
    return MISERewardWrapper(gym.make(CORRIDOR), **{"judge": "oracle", "calibrator": "centred", "w_hindsight": 0.5} | options)


def play(env, actions=WALK, options=THREE_ROOMS):
    """Return the rewards and the infos of an episode."""
    env.reset(seed=0, options=options)
    steps = [env.step(action) for action in actions]
    return [step[1] for step in steps], [step[4] for step in steps]


class Bare(gym.Env):
    """Says nothing in info; every turn pays 0.4; three turns."""

    observation_space = FreeText()
    action_space = FreeText()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.turn = 0
        return "Hello.", {}

    def step(self, action):
        self.turn += 1
        return f"Turn {self.turn}.", 0.4, self.turn == 3, False, {}


class FailsOnLongEpisodes:
    name = "fails"

    def judge(self, episodes):
        return [
            JudgeResult(scores=(1.0,) * len(episode)) if len(episode) < 3 else JudgeResult(status=JudgeStatus.TIMEOUT)
            for episode in episodes
        ]


class CannotBeCopied:
    name = "live"

    def judge(self, episodes):
        return [JudgeResult(scores=(1.0,) * len(episode)) for episode in episodes]

    def __deepcopy__(self, memo):
        raise AssertionError("copied")


def test_terminal_delivery_pays_the_sum_at_the_end():
    rewards, _ = play(wrapped())
    assert rewards == [0.0, 0.0, 0.0, 1.0 + 0.5 * sum(ORACLE_CENTRED)]


def test_info_delivery_leaves_the_reward_alone():
    rewards, infos = play(wrapped(delivery="info", w_env=3.0))
    assert rewards == [0.0, 0.0, 0.0, 1.0]
    assert infos[-1]["mise"]["step_rewards"] == [0.5, 0.0, 0.5, 3.5]


def test_step_delivery_pays_every_turn_as_it_happens():
    rewards, infos = play(wrapped(delivery="step"))
    assert rewards == [0.5, 0.0, 0.5, 1.5]
    assert infos[-1]["mise"]["step_rewards"] == rewards
    assert infos[-1]["mise"]["judge"]["name"] == "oracle"


@pytest.mark.parametrize("delivery", ["terminal", "info", "step"])
def test_the_last_info_tells_every_part(delivery):
    _, infos = play(wrapped(delivery=delivery))
    mise = infos[-1]["mise"]
    assert mise["scores"] == [1.0, 0.5, 1.0, 1.0]
    assert mise["calibrated"] == ORACLE_CENTRED
    assert mise["env_rewards"] == [0.0, 0.0, 0.0, 1.0]
    assert mise["status"] == "ok"
    assert all("mise" not in info for info in infos[:-1])


@pytest.mark.parametrize(
    ("delivery", "hindsight"), [("terminal", [0, 0, 0, 1.5]), ("info", [0] * 4), ("step", [0.5, 0, 0.5, 0.5])]
)
def test_every_info_splits_the_reward(delivery, hindsight):
    rewards, infos = play(wrapped(delivery=delivery))
    assert [info["reward/env"] for info in infos] == [0.0, 0.0, 0.0, 1.0]
    assert [info["reward/hindsight"] for info in infos] == hindsight
    assert rewards == [info["reward/env"] + info["reward/hindsight"] for info in infos]


@pytest.mark.parametrize("delivery", ["terminal", "info", "step"])
def test_weight_zero_changes_no_reward(delivery):
    rewards, _ = play(wrapped(w_hindsight=0.0, delivery=delivery))
    assert rewards == play(gym.make(CORRIDOR))[0]


def test_a_truncated_episode_is_judged():
    _, infos = play(wrapped(), actions=["wait"] * 12)
    assert infos[-1]["mise"]["scores"] == [0.5] * 12


@pytest.mark.parametrize("delivery", ["terminal", "info", "step"])
def test_the_calibrator_learns_after_the_episode(delivery):
    env = wrapped(calibrator="outcome", delivery=delivery)
    _, infos = play(env)
    assert infos[-1]["mise"]["calibrated"] == [0.0] * 4
    assert env.pipeline.calibrator.state_dict() == {"episodes": [[[1.0, 0.5, 1.0, 1.0], 1.0]]}


@pytest.mark.parametrize("delivery", ["terminal", "info", "step"])
def test_evaluation_never_teaches_the_calibrator(delivery):
    env = wrapped(calibrator="outcome", delivery=delivery, learn=False)
    play(env)
    assert env.pipeline.calibrator.state_dict() == {"episodes": []}


def test_learning_can_be_switched_on():
    env = wrapped(calibrator="outcome", learn=False)
    env.learn = True
    play(env)
    assert len(env.pipeline.calibrator.state_dict()["episodes"]) == 1


def test_an_episode_that_was_given_up_teaches_nothing():
    env = wrapped(calibrator="outcome")
    play(env, actions=["go east"])
    _, infos = play(env)
    assert len(infos[-1]["mise"]["scores"]) == 4
    assert len(env.pipeline.calibrator.state_dict()["episodes"]) == 1


def test_environments_can_share_a_calibrator():
    calibrator = make_calibrator("outcome")
    for _ in range(2):
        play(wrapped(calibrator=calibrator))
    assert len(calibrator.state_dict()["episodes"]) == 2


def test_a_failed_judge_leaves_the_environment_reward_and_says_so():
    rewards, infos = play(wrapped(judge=FailsOnLongEpisodes(), w_env=2.0))
    assert rewards == [0.0, 0.0, 0.0, 2.0]
    mise = infos[-1]["mise"]
    assert (mise["status"], mise["scores"], mise["step_rewards"]) == ("timeout", [], [0.0, 0.0, 0.0, 2.0])


def test_in_step_delivery_a_failed_turn_keeps_its_environment_reward():
    rewards, infos = play(wrapped(judge=FailsOnLongEpisodes(), delivery="step"))
    assert rewards == [0.5, 0.5, 0.0, 1.0]
    assert (infos[-1]["mise"]["status"], infos[-1]["mise"]["scores"]) == ("timeout", [])
    assert infos[-1]["mise"]["step_rewards"] == rewards


def test_a_failed_judge_can_raise_and_the_next_episode_is_sound():
    env = wrapped(judge=FailsOnLongEpisodes(), on_judge_failure="raise")
    with pytest.raises(JudgeError, match="timeout"):
        play(env)
    rewards, _ = play(env, actions=["go east"], options={"length": 1})
    assert rewards == [1.5]


def test_the_spec_survives_json():
    env = wrapped(
        judge="flipped",
        judge_kwargs={"judge": "oracle"},
        calibrator="outcome",
        calibrator_kwargs={"window": 7},
        delivery="step",
        w_hindsight=0.125,
    )
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert again.spec == env.spec
    assert again.pipeline.judge.name == "flipped(oracle)"
    assert play(again) == play(env)


def test_a_live_judge_is_not_copied_and_its_spec_says_what_is_missing():
    env = wrapped(judge=CannotBeCopied())
    play(env)
    with pytest.raises(ConfigError, match="'live:CannotBeCopied' was a live object"):
        gym.make(EnvSpec.from_json(env.spec.to_json()))


@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version")
def test_the_wrapped_environment_passes_the_checker():
    check_env(wrapped(delivery="step"), skip_render_check=True)


def test_reset_passes_seed_and_options_on():
    assert wrapped().reset(seed=3, options={"length": 4})[0] == "Room 0 of 4."


def test_without_progress_the_outcome_is_the_limited_sum_of_rewards():
    env = MISERewardWrapper(Bare(), judge="constant", calibrator="outcome")
    env.reset()
    for action in "abc":
        env.step(action)
    assert env.pipeline.calibrator.state_dict() == {"episodes": [[[0.5] * 3, 1.0]]}


def test_the_judge_sees_task_seed_and_split():
    seen = []

    class Spy(CannotBeCopied):
        def judge(self, episodes):
            seen.extend(episodes)
            return super().judge(episodes)

    play(wrapped(judge=Spy()), actions=["fly", *WALK])
    (episode,) = seen
    assert (episode.task, episode.split, episode.task_id, episode.seed) == ("Reach {the} exit.", "train", "corridor-3", 0)
    assert (episode.terminated, episode.truncated, episode.success, episode.progress) == (True, False, True, 1.0)
    assert [turn.valid_action for turn in episode.transitions] == [False, True, True, True, True]
    assert [turn.action for turn in episode.transitions] == ["fly", *WALK]
    assert episode.transitions[0].next_observation == episode.transitions[1].observation == "I beg your pardon?"


def test_an_environment_without_text_is_refused():
    with pytest.raises(ConfigError, match="MISERewardWrapper needs text, but the observation space is Box"):
        MISERewardWrapper(gym.make("CartPole-v1"))


def test_stepping_before_reset_is_refused():
    with pytest.raises(gym.error.ResetNeeded):
        MISERewardWrapper(Bare()).step("a")


def test_stepping_after_the_end_is_refused():
    env = wrapped()
    play(env)
    with pytest.raises(gym.error.ResetNeeded):
        env.step("wait")


def test_an_unknown_delivery_is_refused():
    with pytest.raises(ConfigError, match="Give one of terminal, info, step"):
        wrapped(delivery="sparse")


def test_an_unknown_judge_is_refused_at_construction():
    with pytest.raises(UnknownNameError, match="Did you mean 'oracle'"):
        wrapped(judge="oracl")


def test_the_default_judge_is_the_heuristic():
    assert MISERewardWrapper(gym.make(CORRIDOR)).pipeline.judge.name == make_judge("heuristic").name
