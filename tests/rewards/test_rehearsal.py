"""RehearsalServer: the plan, and answers that depend on the question alone."""

import itertools

import pytest

from mise_gym.errors import ConfigError
from mise_gym.rewards import make_judge
from mise_gym.rewards.rehearsal import FAULTS, SOUND, RehearsalServer, random_plan
from tests.rewards.episodes import episode


def test_a_random_plan_has_the_rate_that_was_asked_for_and_every_fault():
    plan = list(itertools.islice(random_plan(0.3), 5000))
    assert 1 - plan.count(SOUND) / len(plan) == pytest.approx(0.3, abs=0.03)
    assert set(plan) == {SOUND, *FAULTS}


def test_the_seed_decides_the_plan():
    plans = [list(itertools.islice(random_plan(0.5, seed), 20)) for seed in (1, 1, 2)]
    assert plans[0] == plans[1] != plans[2]


def test_the_same_question_gets_the_same_answer():
    with RehearsalServer() as server:
        judge = make_judge("http", {"model": "m", "base_url": server.base_url})
        first, again, other = (judge.judge([episode(name=name)])[0].scores for name in ("a", "a", "b"))
        judge.close()
    assert first == again != other


def test_a_server_can_be_closed_twice():
    server = RehearsalServer()
    server.close()
    server.close()


def test_a_negative_time_is_refused():
    with pytest.raises(ConfigError, match="latency_seconds=-1"):
        RehearsalServer(latency_seconds=-1)
