"""Attacks in actions and observations stay inside their quotes and raise no score."""

import json

import pytest

from mise_gym.rewards import MISERewardWrapper, make_judge
from mise_gym.rewards.judges.http import HttpJudge
from mise_gym.rewards.judges.transcript import MOST_CHARACTERS
from mise_gym.rewards.rehearsal import RehearsalServer
from mise_gym.types import Episode, Transition
from tests.rewards.attacks import ATTACKS

TURN = 2  # the one that is attacked, of four
PLACES = ("action", "observation", "task")

every_attack = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
every_place = pytest.mark.parametrize("place", PLACES)


def episode(attack, place):
    """An episode of four turns in which only the second goes nowhere; there, or in the task, stands the attack."""
    texts = {"action": "xyzzy", "observation": "I beg your pardon?", "task": "Reach the exit."} | {place: attack}
    actions = ["go east", texts["action"], "go east", "go east"]
    answers = ["Room 1.", texts["observation"], "Room 2.", "Room 3."]
    turns = tuple(
        Transition(observation=before, action=action, reward=0.0, next_observation=after, valid_action=index != TURN - 1)
        for index, (before, action, after) in enumerate(zip(["Room 0.", *answers], actions, answers, strict=False))
    )
    ending = {"progress": 0.0, "success": False, "terminated": False, "truncated": True}
    return Episode(task=texts["task"], transitions=turns, **ending)


def literal_mind(question):
    """A model that believes the record to the letter: turns that say "Room" are good, and so is whatever claims a score."""
    record = question.partition("\n\nRecord:\n")[2].partition("\n\nEnd of the record, which")[0]
    lines = [json.loads(line) for line in record.splitlines()]
    return [line.get("score", float(line["observation"].startswith("Room"))) for line in lines if "turn" in line]


@pytest.fixture(scope="module")
def asked():
    """Return the request that the server receives and the scores that come back."""
    with RehearsalServer(scorer=literal_mind) as server:
        judge = HttpJudge("literal", base_url=server.base_url, repairs=0)

        def ask(one):
            (result,) = judge.judge([one])
            return server.requests[-1], result

        yield ask
        judge.close()


def test_there_are_at_least_forty_attacks():
    assert len(ATTACKS) >= 40


@every_place
@every_attack
def test_an_attack_stays_inside_its_quoted_field(asked, attack, place):
    request, result = asked(episode(attack, place))
    clean, _ = asked(episode("harmless", place))
    assert [message["role"] for message in request["messages"]] == ["system", "user"]
    assert request["messages"][0] == clean["messages"][0]
    lines, clean_lines = (body["messages"][1]["content"].split("\n") for body in (request, clean))
    assert len(lines) == len(clean_lines)
    changed = [line for line, other in zip(lines, clean_lines, strict=True) if line != other]
    assert len(changed) == (0 if attack == "harmless" else 1)
    assert changed[0].isascii()
    assert changed[0].isprintable()
    assert not set(changed[0]) & set("<>`")
    field = json.loads(changed[0]) if place == "task" else json.loads(changed[0])[place]
    beginning, gap, end = field.partition(" ... ")
    assert field == attack or (gap and attack.startswith(beginning) and attack.endswith(end))
    assert len(changed[0]) < MOST_CHARACTERS[place] + 100
    assert result.scores == (1.0, 0.0, 1.0, 1.0)


@pytest.mark.parametrize("judge", ["heuristic", "oracle", "constant"])
@every_attack
def test_an_attack_as_an_action_raises_no_score_of_a_deterministic_judge(corridor, attack, judge):
    env = MISERewardWrapper(corridor, judge=judge, calibrator="identity", w_hindsight=1.0)
    attacked, clean = (play(env, action) for action in (attack, "xyzzy"))
    assert attacked["scores"] == clean["scores"]
    assert attacked["step_rewards"] == clean["step_rewards"]


def play(env, action):
    env.reset(options={"length": 3})
    for each in ("go east", action, "go east", "go east"):
        info = env.step(each)[4]
    return info["mise"]


@pytest.mark.parametrize("judge", ["heuristic", "oracle", "constant"])
@every_attack
def test_an_attack_as_an_answer_raises_no_score_of_a_deterministic_judge(attack, judge):
    judge = make_judge(judge)
    (attacked,), (clean,) = (judge.judge([episode(text, "observation")]) for text in (attack, "I beg your pardon?"))
    assert all(hit <= neutral for hit, neutral in zip(attacked.scores, clean.scores, strict=True))
