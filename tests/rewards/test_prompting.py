"""Prompts: files that users can replace, filled in one pass."""

import pytest

from mise_gym.errors import ConfigError, UnknownNameError
from mise_gym.rewards.judges.prompting import PLACES, Prompt, prompt_names


def written(folder, text):
    path = folder / "mine.txt"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", prompt_names())
def test_the_prompts_of_the_package_can_be_filled(name):
    messages = Prompt(name).messages({place: f"<{place}>" for place in PLACES})
    assert [message["role"] for message in messages] == ["system", "user"]
    assert "{{" not in "".join(message["content"] for message in messages)


def test_braces_json_and_places_in_what_is_filled_in_stay_as_they_are(tmp_path):
    prompt = Prompt(written(tmp_path, "[user]\nT {{task}} R {{turns}} A {{answer}}"))
    values = {"task": "{task} {{turns}} {} %s \\1 \\g<0>", "turns": '{"turn": {"a": 1}}', "answer": "{{task}}"}
    (message,) = prompt.messages(values)
    assert message["content"] == f"T {values['task']} R {values['turns']} A {values['answer']}"


def test_single_braces_in_a_prompt_are_text(tmp_path):
    (message,) = Prompt(written(tmp_path, '[user]\n{"like": {this}} {{turns}}{{answer}}')).messages({"turns": "t"})
    assert message["content"] == '{"like": {this}} t'


def test_an_edited_prompt_has_another_version(tmp_path):
    text = "[user]\n{{turns}}{{answer}}"
    first, again = Prompt(written(tmp_path, text)).version, Prompt(written(tmp_path, text)).version
    assert first == again != Prompt(written(tmp_path, text + "!")).version
    assert first.startswith("mine-")


def test_a_misspelt_name_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'hindsight_v1'"):
        Prompt("hindsigth_v1")


def test_a_misspelt_place_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'turns'"):
        Prompt(written(tmp_path, "[user]\n{{turn}}{{answer}}"))


def test_a_prompt_without_the_record_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="lacks turns"):
        Prompt(written(tmp_path, "[user]\n{{answer}}"))


def test_a_prompt_without_a_question_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"has no \[user\] part"):
        Prompt(written(tmp_path, "{{turns}}{{answer}}"))


def test_a_missing_file_is_named():
    with pytest.raises(ConfigError, match=r"Cannot read the prompt 'nowhere\.txt'"):
        Prompt("nowhere.txt")
