"""HttpJudge against a real server on this machine: requests, faults one by one, cache, budget, secrets."""

import asyncio
import concurrent.futures
import json
import logging
import multiprocessing
import pickle
import threading

import gymnasium as gym
import pytest
from gymnasium.envs.registration import EnvSpec

from mise_gym.envs.wrappers import RecordTrajectories
from mise_gym.errors import ConfigError, JudgeError, UnknownNameError
from mise_gym.rewards import JudgeStatus, MISERewardWrapper, RewardPipeline, make_judge
from mise_gym.rewards.judges.http import HttpJudge
from mise_gym.rewards.rehearsal import FAULTS, SOUND, RehearsalServer
from tests.rewards.episodes import episode

KEY = "sk-very-secret"
QUICK = {"retries": 2, "timeout_seconds": 5.0, "first_wait_seconds": 0.001}


@pytest.fixture
def serve():
    """Start servers, and judges that ask them; all of them are closed at the end."""
    things = []

    def start(*plan, name="http", knows_schemas=True, **options):
        things.append(server := RehearsalServer(iter(plan) if plan else None, knows_schemas=knows_schemas))
        things.append(judge := make_judge(name, {"model": "m", "base_url": server.base_url, "retry": QUICK, **options}))
        return server, judge

    yield start
    for thing in reversed(things):
        thing.close()


def user_message(server, number=0):
    return server.requests[number]["messages"][1]["content"]


def test_one_request_scores_every_turn(serve):
    server, judge = serve()
    (result,) = judge.judge([episode(3)])
    assert result.status is JudgeStatus.OK
    assert (len(result.scores), result.calls, len(server.requests)) == (3, 1, 1)
    assert result.scores in server.sound_scores
    assert result.tokens > 0
    assert result.seconds > 0


def test_the_request_holds_task_turns_outcome_and_schema(serve):
    server, judge = serve()
    judge.judge([episode(2, success=True, progress=1.0)])
    body = server.requests[0]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("m", 0.0, 2048)
    assert '"Reach the exit."' in user_message(server)
    assert '{"turn": 2, "action": "go 1", "observation": "Room 2."}' in user_message(server)
    assert "success, the task was fulfilled." in user_message(server)
    assert body["response_format"]["json_schema"]["schema"]["properties"]["turns"]["minItems"] == 2


def test_parameters_can_be_changed_and_left_out(serve):
    server, judge = serve(parameters={"temperature": None, "max_tokens": None, "max_completion_tokens": 99, "seed": 1})
    judge.judge([episode()])
    assert not {"temperature", "max_tokens"} & server.requests[0].keys()
    assert (server.requests[0]["max_completion_tokens"], server.requests[0]["seed"]) == (99, 1)


def test_episodes_are_answered_in_their_order(serve):
    server, judge = serve()
    episodes = [episode(turns, name=f" {turns}") for turns in (5, 1, 0, 3)]
    assert [len(result.scores) for result in judge.judge(episodes)] == [5, 1, 0, 3]
    assert len(server.requests) == 3


def test_a_long_episode_is_judged_in_windows_with_task_and_outcome_in_each(serve):
    server, judge = serve(window_turns=4)
    (result,) = judge.judge([episode(10)])
    assert (len(result.scores), result.calls) == (10, 3)
    messages = [user_message(server, number) for number in range(3)]
    assert all("Reach the exit." in text and "no success" in text for text in messages)
    shown = sorted(text.partition("which had the turns ")[2].partition(".")[0] for text in messages)
    assert shown == ["1 to 4 of 10", "5 to 8 of 10", "9 to 10 of 10"]


def test_the_questions_of_a_growing_episode_begin_alike_for_the_sake_of_prefix_caches(serve):
    server, judge = serve()
    judge.judge([episode(9, terminated=False)])
    judge.judge([episode(10, terminated=False)])
    shorter, longer = (user_message(server, number).partition("\n\nEnd of the record")[0] for number in range(2))
    assert longer.startswith(shorter)


def test_one_window_that_fails_leaves_the_episode_without_scores(serve):
    _, judge = serve(SOUND, "refusal", SOUND, window_turns=4, limits={"concurrency": 1})
    (result,) = judge.judge([episode(10)])
    assert (result.status, result.scores, result.calls) == (JudgeStatus.REFUSED, None, 3)


HOPELESS = ("refusal", "content filter", "unauthorised")
PASSING = [fault for fault in FAULTS if fault not in HOPELESS]


@pytest.mark.parametrize("fault", [fault for fault in PASSING if fault != "hang"])
def test_after_a_passing_fault_the_scores_are_those_of_the_sound_answer(serve, fault):
    server, judge = serve(fault, SOUND)
    (result,) = judge.judge([episode()])
    assert (result.status, result.calls) == (JudgeStatus.OK, 2)
    assert {result.scores} == set(server.sound_scores)


def test_a_server_that_hangs_is_asked_again(serve):
    server, judge = serve("hang", SOUND, retry=QUICK | {"timeout_seconds": 0.1})
    (result,) = judge.judge([episode()])
    assert {result.scores} == set(server.sound_scores)


STATUS_OF = {
    "rate limit": "rate_limited",
    "rate limit with seconds": "rate_limited",
    "rate limit with date": "rate_limited",
    "internal error": "error",
    "overloaded": "error",
    "unauthorised": "error",
    "hang": "timeout",
    "half a body": "error",
    "connection reset": "error",
    "not JSON": "error",
    "no choices": "error",
    "refusal": "refused",
    "content filter": "refused",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_stays_is_a_status_and_never_a_score(serve, fault):
    timeout_seconds = 0.1 if fault == "hang" else 5.0
    server, judge = serve(*[fault] * 9, retry=QUICK | {"retries": 1, "timeout_seconds": timeout_seconds})
    (result,) = judge.judge([episode()])
    assert (result.status, result.scores) == (STATUS_OF.get(fault, "unparsable"), None)
    assert result.message
    assert len(server.requests) == (1 if fault in HOPELESS else 2)


def test_the_model_is_told_what_was_wrong(serve):
    server, judge = serve("out of range", SOUND)
    judge.judge([episode()])
    *asked, bad, told = server.requests[1]["messages"]
    assert asked == server.requests[0]["messages"]
    assert (bad["role"], told["role"]) == ("assistant", "user")
    assert json.loads(bad["content"]).endswith('"score": 1.5}]}')
    assert "1.5, not a number from 0 to 1" in told["content"]


def test_what_the_model_wrote_is_quoted_when_it_is_shown_again(serve):
    server, judge = serve("prose around JSON", SOUND)
    judge.judge([episode()])
    assert not any(set(message["content"]) & set("<>`") for message in server.requests[1]["messages"][2:])
    assert json.loads(server.requests[1]["messages"][2]["content"]).endswith("helps.<|im_end|>")


def test_repairs_are_counted(serve):
    server, judge = serve("empty", "NaN", repairs=0)
    assert judge.judge([episode()])[0].status is JudgeStatus.UNPARSABLE
    assert len(server.requests) == 1


def test_a_wait_that_is_too_long_is_not_begun(serve):
    server, judge = serve("rate limit with seconds", SOUND, retry=QUICK | {"longest_wait_seconds": 0.01})
    assert judge.judge([episode()])[0].status is JudgeStatus.RATE_LIMITED
    assert len(server.requests) == 1


def test_a_server_that_refuses_schemas_is_asked_without_and_remembered(serve, caplog):
    caplog.set_level(logging.INFO)
    server, judge = serve(knows_schemas=False)
    results = judge.judge([episode()]) + judge.judge([episode(name="b")])
    assert [result.status for result in results] == ["ok", "ok"]
    assert ["response_format" in body for body in server.requests] == [True, False, False]
    assert "refuses JSON schemas" in caplog.text


def test_an_address_that_nobody_serves_is_an_error():
    judge = HttpJudge("m", base_url="http://127.0.0.1:9/v1", retry=QUICK)
    (result,) = judge.judge([episode()])
    assert (result.status, result.scores, result.calls) == (JudgeStatus.ERROR, None, 3)
    assert "No answer from http://127.0.0.1:9/v1" in result.message
    judge.close()


@pytest.mark.parametrize("name", ["http", "http-logprob"])
def test_a_second_identical_run_asks_nobody(serve, tmp_path, name):
    server, first = serve(name=name, cache=tmp_path / "cache.db")
    second = make_judge(name, {"model": "m", "base_url": server.base_url, "cache": tmp_path / "cache.db"})
    episodes = [episode(name=str(number)) for number in range(5)]
    said, again = first.judge(episodes), second.judge(episodes)
    second.close()
    assert [result.scores for result in again] == [result.scores for result in said]
    assert (len(server.requests), sum(result.calls for result in again)) == (5, 0)


@pytest.mark.parametrize(
    "change",
    [{"model": "n"}, {"parameters": {"temperature": 1.0}}, {"reasons": True}, {"window_turns": 2}],
)
def test_another_question_is_not_answered_from_the_cache(serve, tmp_path, change):
    options = {"cache": tmp_path / "cache.db"}
    _, first = serve(**options)
    first.judge([episode()])
    server, second = serve(**options | change)
    second.judge([episode()])
    assert len(server.requests) >= 1


def test_another_prompt_is_not_answered_from_the_cache(serve, tmp_path):
    path = tmp_path / "mine.txt"
    for text in ("[user]\n{{turns}} {{answer}}", "[user]\n{{turns}} {{answer}} "):
        path.write_text(text)
        server, judge = serve(cache=tmp_path / "cache.db", prompt=str(path))
        judge.judge([episode()])
        assert len(server.requests) == 1


def test_bad_answers_are_not_kept(serve, tmp_path):
    _, judge = serve("NaN", "NaN", cache=tmp_path / "cache.db")
    judge.judge([episode()])
    server, again = serve(cache=tmp_path / "cache.db")
    assert again.judge([episode()])[0].status is JudgeStatus.OK
    assert len(server.requests) == 1


def test_the_budget_in_calls_is_never_exceeded(serve):
    server, judge = serve(budget={"calls": 3})
    results = judge.judge([episode(name=str(number)) for number in range(10)])
    assert [result.status for result in results].count(JudgeStatus.BUDGET) == 7
    assert (len(server.requests), judge.spent.calls) == (3, 3)
    assert judge.judge([episode()])[0].status is JudgeStatus.BUDGET


@pytest.mark.parametrize("budget", [{"tokens": 20_000}, {"cost": 0.02, "input_price": 1.0, "output_price": 1.0}])
def test_the_budget_in_tokens_and_money_is_never_exceeded(serve, budget):
    _, judge = serve(budget=budget)
    statuses = [result.status for result in judge.judge([episode(name=str(number)) for number in range(80)])]
    assert set(statuses) == {JudgeStatus.OK, JudgeStatus.BUDGET}
    assert judge.spent.tokens <= 20_000
    assert judge.spent.tokens > 10_000


def test_money_is_counted(serve):
    _, judge = serve(budget={"input_price": 1.0, "output_price": 10.0})
    (result,) = judge.judge([episode()])
    spent = judge.spent
    assert result.cost == pytest.approx((spent.input_tokens + 10 * spent.output_tokens) / 1e6)


def test_an_estimate_sends_nothing_and_is_about_right(serve, tmp_path):
    server, judge = serve(cache=tmp_path / "cache.db", budget={"input_price": 1.0, "output_price": 1.0}, window_turns=5)
    episodes = [episode(12, name=str(number)) for number in range(4)]
    estimate = judge.estimate(episodes)
    assert server.requests == []
    judge.judge(episodes)
    assert (estimate.episodes, estimate.requests, estimate.cached) == (4, 12, 0)
    assert estimate.input_tokens == pytest.approx(judge.spent.input_tokens, rel=0.3)
    assert estimate.output_tokens == pytest.approx(judge.spent.output_tokens, rel=0.3)
    assert estimate.cost == pytest.approx(judge.spent.cost, rel=0.3)
    assert judge.estimate(episodes).cached == 12
    assert judge.estimate(episodes).cost == 0.0


def test_the_probabilities_of_digits_become_scores(serve):
    server, judge = serve(name="http-logprob")
    (result,) = judge.judge([episode(4)])
    assert {result.scores} == set(server.sound_scores)
    assert (server.requests[0]["logprobs"], server.requests[0]["top_logprobs"]) == (True, 20)


def test_judging_can_be_awaited_while_other_work_goes_on(serve):
    _, judge = serve()

    async def both():
        return await asyncio.gather(judge.judge_async([episode()]), judge.judge_async([episode(name="b")]))

    assert [results[0].status for results in asyncio.run(both())] == ["ok", "ok"]


def test_giving_up_on_a_request_ends_it_and_leaves_the_judge_sound(serve):
    server, judge = serve("hang", SOUND)

    async def give_up():
        waiting = asyncio.create_task(judge.judge_async([episode()]))
        while not server.requests:
            await asyncio.sleep(0.001)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    asyncio.run(give_up())
    assert judge.judge([episode()])[0].status is JudgeStatus.OK
    assert judge.spent.calls == 2


def test_closing_a_judge_ends_what_waits_for_it(serve):
    server, judge = serve("hang")
    ended = []

    def wait():
        try:
            judge.judge([episode()])
        except concurrent.futures.CancelledError:
            ended.append("cancelled")

    thread = threading.Thread(target=wait)
    thread.start()
    while not server.requests:
        thread.join(0.001)
    judge.close()
    thread.join(30)
    assert ended == ["cancelled"]


def test_judge_works_inside_a_running_event_loop(serve):
    _, judge = serve()

    async def inside():
        return judge.judge([episode()])

    assert asyncio.run(inside())[0].status is JudgeStatus.OK


def test_one_judge_serves_many_threads_within_its_limits(serve):
    server, judge = serve(limits={"concurrency": 2})
    results = []
    threads = [threading.Thread(target=lambda: results.extend(judge.judge([episode()] * 5))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.status for result in results] == ["ok"] * 20
    assert server.most_at_once <= 2


def test_a_closed_judge_opens_again(serve):
    _, judge = serve()
    judge.close()
    judge.judge([episode()])
    judge.close()
    assert judge.judge([episode()])[0].status is JudgeStatus.OK


def _judge_in_a_child(judge, queue):
    queue.put(judge.judge([episode()])[0].scores)
    judge.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_judge_works_in_a_process_that_was_forked_off(serve):
    _, judge = serve()
    (here,) = judge.judge([episode()])
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_judge_in_a_child, args=(judge, queue))
    child.start()
    assert queue.get(timeout=30) == here.scores
    child.join(timeout=30)
    assert child.exitcode == 0


def test_the_key_is_sent_and_shows_nowhere_else(serve, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    server, judge = serve(*["unauthorised"] * 9, api_key=KEY, cache=tmp_path / "cache.db", retry={"retries": 0})
    pipeline = RewardPipeline(judge, retries=0)
    (failed,) = pipeline.reward([episode()])
    judge.judge([episode(name="b")])
    judge.judge([episode(name="c")])
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    shown = [repr(judge), str(failed), json.dumps(pipeline.state_dict()), caplog.text, str(judge.judge([episode()]))]
    assert not any(KEY in text for text in shown)
    assert KEY.encode() not in pickle.dumps(judge)
    assert not any(KEY.encode() in path.read_bytes() for path in tmp_path.iterdir())


def test_the_key_is_not_in_the_spec_of_an_environment(serve, corridor):
    server, _ = serve()
    inner = {"judge": "http", "judge_kwargs": {"model": "m", "base_url": server.base_url, "api_key": KEY}}
    for name, kwargs in (("http", inner["judge_kwargs"]), ("ensemble", {"judges": [inner, inner]}), ("flipped", inner)):
        env = MISERewardWrapper(corridor, judge=name, judge_kwargs=kwargs)
        text = env.spec.to_json()
        assert KEY not in text
        assert server.base_url in text
        again = gym.make(EnvSpec.from_json(text))
        again.reset(options={"length": 1})
        assert again.step("go east")[4]["mise"]["status"] == "ok"


def test_the_key_is_not_in_the_message_about_a_misspelt_argument():
    with pytest.raises(ConfigError) as refused:
        make_judge("http", {"modle": "m", "api_key": KEY})
    assert "modle" in str(refused.value)
    assert KEY not in str(refused.value)


def test_the_key_is_in_nothing_that_a_run_leaves_behind(serve, corridor, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    server, _ = serve()
    member = {
        "judge": "http",
        "judge_kwargs": {"model": "m", "base_url": server.base_url, "api_key": KEY, "cache": f"{tmp_path}/c.db"},
    }
    env = MISERewardWrapper(corridor, judge="ensemble", judge_kwargs={"judges": [member, "heuristic"]})
    env = RecordTrajectories(env, tmp_path / "episodes.jsonl")
    env.reset(seed=0)
    while not any(env.step("wait")[2:4]):
        pass
    (tmp_path / "state.json").write_text(json.dumps(env.get_wrapper_attr("pipeline").state_dict()))
    (tmp_path / "spec.json").write_text(env.spec.to_json())
    env.close()
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert {path.name for path in tmp_path.iterdir()} >= {"c.db", "episodes.jsonl", "state.json", "spec.json"}
    assert not [path.name for path in tmp_path.iterdir() if KEY.encode() in path.read_bytes()]


def test_reasons_reach_info(corridor, serve):
    _, judge = serve(reasons=True)
    env = MISERewardWrapper(corridor, judge=judge)
    env.reset(options={"length": 2})
    env.step("go east")
    assert env.step("go east")[4]["mise"]["judge"]["reasons"] == ["rehearsed", "rehearsed"]


@pytest.mark.parametrize("delivery", ["terminal", "info", "step"])
def test_a_judge_that_is_down_costs_the_hindsight_reward_only(corridor, serve, delivery):
    _, judge = serve(*["internal error"] * 99, retry={"retries": 0})
    env = MISERewardWrapper(corridor, judge=judge, delivery=delivery, retries=0)
    env.reset(options={"length": 2})
    first, last = env.step("go east"), env.step("go east")
    assert (first[1], last[1]) == (0.0, 1.0)
    assert (last[4]["mise"]["status"], last[4]["mise"]["scores"]) == ("error", [])


def test_a_judge_that_stays_down_is_noticed(serve):
    _, judge = serve(*["internal error"] * 99, retry={"retries": 0})
    pipeline = RewardPipeline(judge, max_failures=5, retries=0)
    with pytest.raises(JudgeError, match=r"failed 5 times in a row, last with error: .* answered 500"):
        pipeline.reward([episode()] * 10)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"limits": {"concurency": 3}}, "No limit named 'concurency'. Did you mean 'concurrency'"),
        ({"retry": {"timeout": 3}}, "No retry setting named 'timeout'"),
        ({"budget": {"call": 3}}, "No budget named 'call'. Did you mean 'calls'"),
        ({"prompt": "hindsight"}, "Did you mean 'hindsight_v1'"),
    ],
)
def test_misspelt_settings_are_answered_with_the_nearest_name(options, complaint):
    with pytest.raises(UnknownNameError, match=complaint):
        HttpJudge("m", base_url="http://localhost/v1", **options)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"repairs": -1}, "repairs=-1"),
        ({"window_turns": 0}, "window_turns=0"),
        ({"limits": 16}, "Give a mapping"),
        ({"parameters": {"stream": True}}, "'stream', which the judge sets itself"),
        ({"parameters": {"stop": object()}}, "cannot be sent as JSON"),
        ({"parameters": {"max_tokens": 0}}, "max_tokens=0"),
        ({"budget": {"tokens": 10}, "parameters": {"max_tokens": None}}, "needs a bound on the answers"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, complaint):
    with pytest.raises(ConfigError, match=complaint):
        HttpJudge("m", base_url="http://localhost/v1", **options)
