"""What only the ScienceWorld environment does."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import mise_gym  # noqa: F401  # registers the ids
from mise_gym.envs.science.machine import Machine
from mise_gym.envs.science.tasks import SPLITS, TASKS, find_task, spell_out
from mise_gym.errors import ConfigError, SimulatorCrashed


@pytest.fixture(scope="module")
def env() -> Iterator[gym.Env[str, str]]:
    """An environment that tells everything."""
    env = make(infos=["admissible_commands", "look", "inventory", "moves"])
    yield env
    env.close()


def make(**kwargs: Any) -> gym.Env[str, str]:
    return gym.make("mise/ScienceWorld-v0", **kwargs)


class TestTasks:
    def test_there_are_thirty_with_all_their_variations(self) -> None:
        assert (len(TASKS), sum(task.variations for task in TASKS)) == (30, 7207)

    def test_the_splits_are_those_of_the_simulator(self) -> None:
        assert [sum(len(task.variations_of(split)) for task in TASKS) for split in SPLITS] == [3592, 1796, 1819]

    def test_a_task_is_found_by_its_number(self) -> None:
        assert find_task("1-1") is find_task("boil")

    def test_every_variation_is_in_one_split(self) -> None:
        assert all(
            sorted(number for split in SPLITS for number in task.variations_of(split)) == list(range(task.variations))
            for task in TASKS
        )

    def test_easy_keeps_the_electrical_actions_where_they_are_needed(self) -> None:
        assert "noElectricalAction" not in spell_out(find_task("power-component"), ["easy"])

    @pytest.mark.integration
    def test_the_table_says_what_the_simulator_says(self, one: Machine) -> None:
        simulator = one._gateway.jvm.scienceworld.runtime.pythonapi.PythonInterface()
        assert {name: simulator.getTaskMaxVariations(name) for name in simulator.getTaskNames()} == {
            task.name: task.variations for task in TASKS
        }

    @pytest.mark.integration
    @pytest.mark.parametrize("name", ["boil", "identify-life-stages-2", "use-thermometer"])
    def test_the_variations_of_a_split_are_the_simulators(self, one: Machine, name: str) -> None:
        simulator = one._gateway.jvm.scienceworld.runtime.pythonapi.PythonInterface()
        simulator.load(name, 0, "", False)
        theirs = [list(simulator.getVariationsTrain()), list(simulator.getVariationsDev()), list(simulator.getVariationsTest())]
        assert theirs == [list(find_task(name).variations_of(split)) for split in SPLITS]


class TestChoosing:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"task": "biol"}, "Did you mean 'boil'"),
            ({"task": "boil", "variation": 30}, "from 0 to 29"),
            ({"task": "boil", "variation": -1}, "from 0 to 29"),
            ({"task": "boil", "variation": True}, "must be a number"),
            ({"task": "boil", "variation": "three"}, "must be a number"),
            ({"task": "boil/3", "variation": 3}, "give it as 'boil/3'"),
            ({"task": "boil/three"}, "give it as 'boil/3'"),
            ({"task": 7}, "No task named 7"),
            ({"variation": 3}, "Add the option task"),
            ({"task": "boil", "variation": 3, "split": "test"}, "is in the split 'train', not in 'test'"),
        ],
    )
    def test_what_does_not_exist_is_explained_before_java_starts(self, options: dict[str, Any], message: str) -> None:
        env = make()
        with pytest.raises(ConfigError, match=message):
            env.reset(options=options)
        assert env.unwrapped._world is None  # type: ignore[attr-defined]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"task": "biol"}, "Did you mean 'boil'"),
            ({"simplifications": ["openDoor"]}, "Did you mean 'openDoors'"),
            ({"simplifications": "easy"}, "must be a sequence"),
            ({"task": "power-component", "simplifications": ["noElectricalAction"]}, "needs electrical actions"),
        ],
    )
    def test_a_wrong_argument_is_refused(self, arguments: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            make(**arguments)

    def test_no_task_about_circuits_is_drawn_without_electrical_actions(self) -> None:
        env = make(simplifications=["noElectricalAction"]).unwrapped
        env.np_random = np.random.default_rng(0)
        drawn = {env._choose({})[0].name for _ in range(300)}  # type: ignore[attr-defined]
        assert len(drawn) == 26

    @pytest.mark.parametrize("split", SPLITS)
    def test_every_variation_of_a_split_is_drawn_and_no_other(self, split: str) -> None:
        env = make(task="identify-life-stages-2", split=split).unwrapped
        env.np_random = np.random.default_rng(0)
        drawn = {env._choose({})[1] for _ in range(100)}  # type: ignore[attr-defined]
        assert drawn == set(find_task("identify-life-stages-2").variations_of(split))

    def test_the_seed_draws_task_and_variation(self) -> None:
        env = make().unwrapped
        choices = []
        for seed in (0, 0, 1):
            env.np_random = np.random.default_rng(seed)
            choices.append([env._choose({}) for _ in range(200)])  # type: ignore[attr-defined]
        assert choices[0] == choices[1] != choices[2]
        assert {task for task, _ in choices[0]} == set(TASKS)

    @pytest.mark.integration
    def test_the_last_variation_of_every_task_can_be_played(self) -> None:
        env = make()
        ids = [f"{task.name}/{task.variations - 1}" for task in TASKS]
        played = [env.reset(options={"task": task_id})[1]["task_id"] for task_id in ids]
        env.close()
        assert played == ids

    @pytest.mark.integration
    def test_a_number_of_numpy_is_a_variation(self) -> None:
        env = make(task="boil")
        _, info = env.reset(options={"variation": np.int64(29)})
        env.close()
        assert (info["task_id"], info["split"]) == ("boil/29", "test")


class TestIds:
    def test_every_task_has_an_id(self) -> None:
        ids = [name for name in gym.registry if name.startswith("mise/ScienceWorld-") and name != "mise/ScienceWorld-v0"]
        assert [gym.spec(name).kwargs for name in ids] == [{"task": task.name} for task in TASKS]

    @pytest.mark.integration
    def test_an_id_of_a_task_plays_that_task_only(self) -> None:
        env = gym.make("mise/ScienceWorld-FindNonLivingThing-v0")
        played = {env.reset(seed=seed)[1]["task_id"].partition("/")[0] for seed in range(5)}
        env.close()
        assert played == {"find-non-living-thing"}

    @pytest.mark.integration
    def test_an_id_of_a_task_makes_vectors(self) -> None:
        envs = gym.make_vec("mise/ScienceWorld-Boil-v0", num_envs=2)
        _, info = envs.reset(seed=0)
        envs.close()
        assert all(task_id.startswith("boil/") for task_id in info["task_id"])


@pytest.mark.integration
class TestEpisodes:
    def test_several_readings_become_a_question_with_numbers(self, env: gym.Env[str, str]) -> None:
        env.reset(options={"task": "boil/0"})
        observation, _, _, _, info = env.step("open door")
        assert observation.startswith("Ambiguous request")
        assert (info["ambiguous"], info["moves"], info["admissible_commands"][:2]) == (True, 0, ["0", "1"])

    @pytest.mark.parametrize("answer", ["0", " 0 ", "0\n"])
    def test_a_number_answers_the_question(self, env: gym.Env[str, str], answer: str) -> None:
        env.reset(options={"task": "boil/0"})
        env.step("open door")
        observation, _, _, _, info = env.step(answer)
        assert (observation, info["ambiguous"], info["valid_action"]) == ("The door is now open.", False, True)

    @pytest.mark.parametrize("answer", ["", "99", "-1", "open door to kitchen", "0 1"])
    def test_anything_else_cancels_the_question_and_does_nothing(self, env: gym.Env[str, str], answer: str) -> None:
        _, before = env.reset(options={"task": "boil/0"})
        env.step("open door")
        _, _, _, _, info = env.step(answer)
        assert (info["ambiguous"], info["valid_action"], info["look"]) == (False, False, before["look"])

    def test_a_number_without_a_question_is_no_action(self, env: gym.Env[str, str]) -> None:
        env.reset(options={"task": "boil/0"})
        assert not env.step("0")[4]["valid_action"]

    def test_focusing_on_the_wrong_thing_fails_the_task(self) -> None:
        env = make(reward_mode="dense", task="boil")
        env.reset(options={"variation": 0})
        _, reward, terminated, truncated, info = env.step("focus on agent")
        env.close()
        assert (reward, terminated, truncated) == (0.0, True, False)
        assert (info["failed"], info["success"], info["progress"], info["score"]) == (True, False, 0.0, -100.0)

    def test_progress_that_is_not_complete_is_no_success(self, env: gym.Env[str, str]) -> None:
        env.reset(options={"task": "find-plant/0"})
        results = [env.step(action) for action in env.unwrapped.expert_actions()[:-1]]  # type: ignore[attr-defined]
        assert 0.5 < results[-1][4]["progress"] < 1
        assert not any(terminated or info["success"] or info["failed"] for _, _, terminated, _, info in results)

    @pytest.mark.parametrize(
        "task_id", ["boil/0", "test-conductivity/450", "find-animal/299", "grow-plant/0", "inclined-plane-determine-angle/84"]
    )
    def test_the_expert_solves_it(self, task_id: str) -> None:
        env = make(max_turns=None)
        env.reset(options={"task": task_id})
        ends = [env.step(action) for action in env.unwrapped.expert_actions()]  # type: ignore[attr-defined]
        env.close()
        assert [end[2] for end in ends] == [False] * (len(ends) - 1) + [True]
        assert ends[-1][4]["success"]

    def test_a_solution_is_computed_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        env = make(task="find-plant")
        env.reset(options={"variation": 0})
        first = env.unwrapped.expert_actions()  # type: ignore[attr-defined]
        (stored,) = tmp_path.rglob("*.json")
        stored.write_text(json.dumps(["wait"]))
        second = env.unwrapped.expert_actions()  # type: ignore[attr-defined]
        env.close()
        assert (len(first) > 1, second) == (True, ["wait"])

    def test_a_solution_fits_the_simplifications(self) -> None:
        env = make(task="find-plant", simplifications=["easy"], infos=["admissible_commands"])
        _, info = env.reset(options={"variation": 0})
        solved = [env.step(action)[4]["success"] for action in env.unwrapped.expert_actions()]  # type: ignore[attr-defined]
        env.close()
        assert "teleport to kitchen" in info["admissible_commands"]
        assert solved[-1]

    def test_an_error_inside_the_simulator_is_told_and_the_machine_goes_on(self, one: Machine) -> None:
        with pytest.raises(SimulatorCrashed, match=r"ScienceWorld failed: .*Exception.*Call reset\(\)"):
            one.step(-1, "look", 0)
        assert one.is_usable
