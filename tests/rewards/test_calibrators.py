"""What the calibrators that learn do: follow the outcome, ignore noise, know their task, and leave the best policy alone."""

import json
from itertools import product

import numpy as np
import pytest

from mise_gym.errors import CheckpointError, ConfigError, UnknownNameError
from mise_gym.rewards import JudgeResult, RewardPipeline, make_calibrator
from mise_gym.rewards.base import calibrator_of
from mise_gym.rewards.delivery import RewardDelivery, TrackedEpisode
from mise_gym.rewards.metrics import brier
from mise_gym.types import Episode, Transition

CURVES = ["affine", "beta", "isotonic"]
LEARNING = [*CURVES, "outcome"]


def taught(name, score, num_episodes=400, success=0.3, seed=0, **options):
    """Return a calibrator that saw episodes of 5 to 20 turns; ``score(rng, won, turns)`` makes their scores."""
    calibrator = make_calibrator(name, options)
    for scores, won in episodes(score, num_episodes, success, seed):
        calibrator.update(scores.tolist(), won)
    return calibrator


def episodes(score, num_episodes, success=0.3, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(num_episodes):
        won = float(rng.random() < success)
        yield score(rng, won, int(rng.integers(5, 21))), won


def overconfident(rng, won, turns):
    return np.clip(0.8 + 0.1 * (rng.random(turns) < 0.3 + 0.4 * won) + rng.uniform(-0.02, 0.02, turns), 0, 1)


def inverted(rng, won, turns):
    return 1 - overconfident(rng, won, turns)


def noise(rng, won, turns):
    return rng.random(turns)


@pytest.mark.parametrize("name", LEARNING)
def test_a_score_that_goes_with_success_is_paid(name):
    low, high = taught(name, overconfident)(np.array([0.8, 0.9]))
    assert low < -0.2
    assert high > 0.2


@pytest.mark.parametrize("name", LEARNING)
def test_an_inverted_judge_is_turned_round(name):
    low, high = taught(name, inverted)(np.array([0.1, 0.2]))
    assert low > 0.2
    assert high < -0.2


@pytest.mark.parametrize("name", LEARNING)
def test_noise_is_paid_next_to_nothing(name):
    grid = np.linspace(0, 1, 101)
    paid = [np.sqrt(np.mean(taught(name, noise, seed=seed)(grid) ** 2)) for seed in range(8)]
    assert np.median(paid) < 0.01
    assert max(paid) < 0.08


@pytest.mark.parametrize("name", LEARNING)
def test_turns_are_paid_nothing_on_average(name):
    calibrator = taught(name, overconfident)
    scores = np.concatenate([scores for scores, _ in episodes(overconfident, 400)])
    assert calibrator(scores).mean() == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("name", LEARNING)
def test_the_calibrated_belief_is_nearer_to_new_outcomes_than_the_score(name):
    calibrator = taught(name, overconfident)
    scores, outcomes = zip(*episodes(overconfident, 400, seed=1), strict=True)
    turns, outcomes = np.concatenate(scores), np.repeat(outcomes, [len(part) for part in scores])
    assert brier(calibrator.beliefs(turns), outcomes) < 0.22 < 0.4 < brier(turns, outcomes)


@pytest.mark.parametrize("name", LEARNING)
def test_beliefs_are_the_rewards_in_units_of_the_outcome(name):
    calibrator = taught(name, overconfident)
    low, high = np.array([0.8, 0.9])[:, None]
    ratio = (calibrator.beliefs(high) - calibrator.beliefs(low)) / (calibrator(high) - calibrator(low))
    outcomes = [won for _, won in episodes(overconfident, 400)]
    assert ratio == pytest.approx(np.std(outcomes))


@pytest.mark.parametrize("name", LEARNING)
def test_few_data_are_trusted_less(name):
    grid = np.array([0.8, 0.9])
    few, many = (np.ptp(taught(name, overconfident, num_episodes=count)(grid)) for count in (6, 400))
    assert few < many


@pytest.mark.parametrize("name", LEARNING)
@pytest.mark.parametrize("count", [0, 1, 2])
def test_hardly_any_data_pay_hardly_anything(name, count):
    calibrator = taught(name, overconfident, num_episodes=count, success=0.5, seed=3)
    assert np.abs(calibrator(np.linspace(0, 1, 11))).max() < 0.3


@pytest.mark.parametrize("name", LEARNING)
@pytest.mark.parametrize("outcome", [0.0, 0.4, 1.0])
def test_equal_outcomes_pay_nothing_and_are_believed(name, outcome):
    calibrator = make_calibrator(name)
    for _ in range(20):
        calibrator.update([0.2, 0.9], outcome)
    grid = np.linspace(0, 1, 11)
    assert (calibrator(grid) == 0).all()
    assert calibrator.beliefs(grid) == pytest.approx(outcome)


@pytest.mark.parametrize("name", LEARNING)
def test_old_episodes_are_forgotten(name):
    calibrator = taught(name, overconfident, window=50)
    for _ in range(25):
        calibrator.update([0.8] * 5, 1.0)
        calibrator.update([0.9] * 5, 0.0)
    low, high = calibrator(np.array([0.8, 0.9]))
    assert low > 0.3 > -0.3 > high


@pytest.mark.parametrize("name", LEARNING)
def test_scores_at_the_edges_are_no_trouble(name):
    calibrator = make_calibrator(name)
    for won in np.tile([0.0, 1.0], 50):
        calibrator.update([won, won, 1.0], float(won))
    low, high = calibrator(np.array([0.0, 1.0]))
    assert np.isfinite([low, high]).all()
    assert low < 0 < high


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("options", [{"window": 0}, {"shrinkage": -1.0}])
def test_settings_out_of_range_are_refused(name, options):
    with pytest.raises(ConfigError, match=f"The {name} calibrator got .* window >= 1 and shrinkage >= 0"):
        make_calibrator(name, options)


def test_affine_is_platts_formula():
    """With many episodes the shrinkage vanishes, and the curve has straight log-odds with the slope of the data."""
    rng = np.random.default_rng(0)
    calibrator = make_calibrator("affine", {"window": 20_000})
    for score in rng.random(20_000):
        calibrator.update([score], float(rng.random() < 1 / (1 + np.exp(2 - 4 * score))))
    belief = calibrator.beliefs(np.array([0.1, 0.5, 0.9]))
    assert np.log(belief / (1 - belief)) == pytest.approx([-1.6, 0.0, 1.6], abs=0.1)


def test_beta_leaves_a_calibrated_judge_alone_where_affine_cannot():
    grid, worst = np.linspace(0.02, 0.98, 49), {}
    for name in ("affine", "beta"):
        rng, calibrator = np.random.default_rng(1), make_calibrator(name, {"window": 20_000})
        for score in rng.random(20_000):
            calibrator.update([score], float(rng.random() < score))
        worst[name] = np.abs(calibrator.beliefs(grid) - grid).max()
    assert worst["beta"] < 0.03 < worst["affine"]


def test_isotonic_follows_a_step():
    rng, calibrator = np.random.default_rng(2), make_calibrator("isotonic", {"window": 4000})
    for score in rng.random(4000):
        calibrator.update([score], float(rng.random() < (0.8 if score > 0.7 else 0.2)))
    assert calibrator.beliefs(np.array([0.1, 0.65, 0.75, 1.0])) == pytest.approx([0.2, 0.2, 0.8, 0.8], abs=0.06)


@pytest.mark.parametrize("name", CURVES)
def test_curves_are_monotone(name):
    assert (np.diff(taught(name, overconfident)(np.linspace(0, 1, 201))) >= -1e-12).all()


# The kinds of tasks


def episode(task_id="", split="train", turns=1, progress=0.0, ended=True):
    turn = Transition(observation="a", action="b", reward=0.0, next_observation="c")
    return Episode(
        task="",
        transitions=(turn,) * turns,
        progress=progress,
        success=progress == 1,
        terminated=ended,
        truncated=False,
        task_id=task_id,
        split=split,
    )


def two_kinds(**options):
    """A judge who is right about boiling and wrong, half as often asked, about painting."""
    calibrator = make_calibrator("per-task", options)
    for won, (kind, good) in product([0.0, 1.0] * 100, [("boil", 1), ("boil", 1), ("paint", 0)]):
        calibrator_of(calibrator, episode(f"{kind}/7")).update([won if good else 1 - won], won)
    return calibrator


def rewards(calibrator, task_id, scores=(0.0, 1.0)):
    return calibrator_of(calibrator, episode(task_id))(np.array(scores))


def test_every_kind_of_task_has_its_own_curve():
    calibrator = two_kinds()
    low, high = rewards(calibrator, "boil/12")
    assert low < -0.3 < 0.3 < high
    low, high = rewards(calibrator, "paint/3")
    assert low > 0.3 > -0.3 > high


def test_a_new_kind_starts_from_all_together():
    calibrator = two_kinds()
    assert rewards(calibrator, "melt/1").tolist() == calibrator.pooled(np.array([0.0, 1.0])).tolist()


def test_pooling_decides_how_fast_a_kind_leaves_the_others():
    assert rewards(two_kinds(pooling=0.0), "paint/1")[0] > rewards(two_kinds(pooling=2000.0), "paint/1")[0]


def test_single_tasks_can_be_told_apart():
    calibrator = two_kinds(by="task_id")
    assert rewards(calibrator, "boil/12").tolist() == calibrator.pooled(np.array([0.0, 1.0])).tolist()
    assert rewards(calibrator, "boil/7").tolist() != rewards(calibrator, "boil/12").tolist()


def test_looking_at_a_kind_teaches_nothing():
    calibrator = two_kinds()
    before = calibrator.state_dict()
    rewards(calibrator, "melt/1")
    assert calibrator.state_dict() == before


def test_the_kinds_are_restored_exactly_from_json():
    calibrator, restored = two_kinds(), make_calibrator("per-task")
    restored.load_state_dict(json.loads(json.dumps(calibrator.state_dict())))
    for kind in ("boil/1", "paint/1", "melt/1"):
        assert rewards(restored, kind).tolist() == rewards(calibrator, kind).tolist()


@pytest.mark.parametrize("state", [{}, {"pooled": {"episodes": []}}, {"pooled": {}, "kinds": {}}, {"pooled": 0, "kinds": []}])
def test_a_wrong_state_of_kinds_is_refused(state):
    with pytest.raises(CheckpointError):
        make_calibrator("per-task").load_state_dict(state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "colour"}, "kind, task_id"),
        ({"pooling": -1}, "pooling >= 0"),
        ({"calibrator": "potential"}, "Put 'per-task' inside it"),
        ({"calibrator": make_calibrator("outcome")}, "needs a name"),
    ],
)
def test_settings_that_make_no_sense_per_task_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        make_calibrator("per-task", options)


def test_a_misspelt_inner_calibrator_is_answered():
    with pytest.raises(UnknownNameError, match="Did you mean 'outcome'"):
        make_calibrator("per-task", {"calibrator": "outcom"})


# Held-out episodes


@pytest.mark.parametrize("name", ["per-task", "potential", *LEARNING])
@pytest.mark.parametrize("split", ["valid", "test", "dev"])
def test_held_out_outcomes_never_reach_a_calibrator(name, split):
    """Leak test: held-out episodes go through ``learn`` as training ones do, and leave no trace."""
    pipeline = RewardPipeline("oracle", name)
    pipeline.learn(seen := [episode(progress=0.0), episode(progress=1.0)] * 20, pipeline.reward(seen))
    before = json.dumps(pipeline.state_dict()["calibrator"])
    held_out = [episode(split=split, progress=outcome) for outcome in (0.0, 1.0, 0.5)]
    pipeline.learn(held_out, pipeline.reward(held_out))
    assert json.dumps(pipeline.state_dict()["calibrator"]) == before


def test_episodes_without_a_split_teach():
    pipeline = RewardPipeline("oracle")
    pipeline.learn(seen := [episode(split="")], pipeline.reward(seen))
    assert len(pipeline.calibrator.state_dict()["episodes"]) == 1


# Potentials


def test_the_discounted_sum_of_shaping_is_zero_whatever_the_judge_says():
    rng = np.random.default_rng(0)
    for gamma in (0.0, 0.5, 0.99, 1.0):
        for turns in (1, 2, 9):
            paid = make_calibrator("potential", {"gamma": gamma, "calibrator": "centred"})(rng.random(turns))
            assert paid @ gamma ** np.arange(turns) == pytest.approx(0.0, abs=1e-12)


def test_a_running_episode_is_paid_for_its_last_state():
    calibrator = make_calibrator("potential", {"gamma": 0.5, "calibrator": "identity"})
    scores = np.array([0.8, 0.4])
    assert calibrator_of(calibrator, episode(ended=False))(scores) == pytest.approx([0.4, 0.5 * 0.4 - 0.8])
    assert calibrator_of(calibrator, episode(ended=True))(scores) == pytest.approx([0.4, -0.8])


class Growing:
    """Scores turn t as t tenths."""

    name = "growing"

    def judge(self, episodes):
        return [JudgeResult(scores=tuple(0.1 * (turn + 1) for turn in range(len(episode)))) for episode in episodes]


class FakeRecorder:
    """An episode of three turns that is shown turn by turn."""

    def __init__(self):
        self.turns = 0

    is_done = property(lambda self: self.turns == 3)

    def episode(self):
        return episode(turns=self.turns, ended=self.is_done)


def test_shaping_step_by_step_pays_what_shaping_afterwards_pays():
    shaping = make_calibrator("potential", {"gamma": 0.5, "calibrator": "identity"})
    delivery = RewardDelivery(RewardPipeline(Growing(), shaping, w_hindsight=1.0), "step", learn=False)
    tracked, paid = TrackedEpisode(FakeRecorder()), []
    for turn in range(3):
        tracked.recorder.turns = turn + 1
        paid.append(delivery.pay([tracked])[0].reward)
    assert paid == pytest.approx(shaping(np.array([0.1, 0.2, 0.3])).tolist())


def test_potentials_per_task_are_possible():
    shaping = make_calibrator("potential", {"gamma": 0.9, "calibrator": "per-task"})
    for won in (0.0, 1.0) * 50:
        calibrator_of(shaping, episode("boil/1")).update([won, won], won)
    paid = calibrator_of(shaping, episode("boil/2"))(np.array([1.0, 1.0]))
    assert paid[0] > 0.3
    assert paid @ [1, 0.9] == pytest.approx(0.0, abs=1e-12)


NUM_STATES, GAMMA, LOST = 4, 0.9, 4
"""States 0 to 3 and, as a number, the end."""


def small_world(seed):
    """Return p(next | state, action), shape (4, 2, 5), and rewards, shape (4, 2), of a random world with an end."""
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(NUM_STATES + 1), size=(NUM_STATES, 2)), rng.normal(size=(NUM_STATES, 2))


def best_policy(transitions, rewards):
    """Solve a world by value iteration; the end has value 0. Rewards: shape (4, 2, 5), of every transition."""
    values = np.zeros(NUM_STATES + 1)
    for _ in range(500):
        gains = (transitions * (rewards + GAMMA * values)).sum(axis=2)
        values[:NUM_STATES] = gains.max(axis=1)
    return gains


def reward_of(calibrator, scores):
    """Return the shaping of every transition, read from the calibrator on two-turn episodes that run or end. Shape (4, 5)."""
    shaping = np.zeros((NUM_STATES, NUM_STATES + 1))
    for state, following in product(range(NUM_STATES), range(NUM_STATES + 1)):
        ended = following == LOST
        turns = np.array([scores[state], 0.0 if ended else scores[following]])
        shaping[state, following] = calibrator_of(calibrator, episode(ended=ended))(turns)[1]
    return shaping


@pytest.mark.parametrize("seed", range(10))
def test_shaping_leaves_the_best_policy_alone(seed):
    """A judge with random opinions, weighted a hundred times: by Ng, Harada and Russell the order of actions stays."""
    transitions, env = small_world(seed)
    scores = np.random.default_rng(seed).random(NUM_STATES)
    shaping = 100 * reward_of(make_calibrator("potential", {"gamma": GAMMA, "calibrator": "centred"}), scores)
    plain = best_policy(transitions, np.repeat(env[:, :, None], NUM_STATES + 1, axis=2))
    shaped = best_policy(transitions, env[:, :, None] + shaping[:, None, :])
    assert np.diff(shaped, axis=1) == pytest.approx(np.diff(plain, axis=1), abs=1e-6)


def test_the_score_itself_does_change_the_best_policy():
    """The same worlds and opinions, paid as they are: the test above can fail."""
    changed = 0
    for seed in range(10):
        transitions, env = small_world(seed)
        scores = np.append(np.random.default_rng(seed).random(NUM_STATES), 0.0)
        plain = best_policy(transitions, np.repeat(env[:, :, None], NUM_STATES + 1, axis=2))
        paid = best_policy(transitions, env[:, :, None] + 100 * scores)
        changed += bool((plain.argmax(axis=1) != paid.argmax(axis=1)).any())
    assert changed > 5


@pytest.mark.parametrize("gamma", [-0.1, 1.1])
def test_a_discount_outside_the_unit_interval_is_refused(gamma):
    with pytest.raises(ConfigError, match="learner's discount"):
        make_calibrator("potential", {"gamma": gamma})
