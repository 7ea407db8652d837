"""A language model of a few thousand weights that has learnt to judge: going north is good, going south is bad."""

import tempfile
from functools import cache
from itertools import count
from pathlib import Path

import torch

from mise_gym.rewards.judges.prompts import __file__ as prompts
from mise_gym.rewards.judges.turn_prompt import TurnPrompt
from mise_gym.train.model import TinyModelConfig, build_tiny_model, train_tokenizer
from mise_gym.types import Episode, Transition

SHAPE = TinyModelConfig(hidden_size=32, num_layers=2, num_heads=2, intermediate_size=64, vocab_size=512, max_tokens=2048)
CHAT_TEMPLATE = "{% for m in messages %}<bos>{{ m['role'] }}: {{ m['content'] }}<eos>{% endfor %}<bos>assistant: "
_FOLDERS = tempfile.TemporaryDirectory()
_NUMBERS = count()


def walk(*ways, success=True, ended=True, task="Go north."):
    """An episode of "go north" and "go south"."""
    turns = tuple(
        Transition(observation=f"Spot {i}.", action=f"go {way}", reward=0.0, next_observation=f"Spot {i + 1}.")
        for i, way in enumerate(ways)
    )
    progress = float(success and ended)
    return Episode(task=task, transitions=turns, progress=progress, success=bool(progress), terminated=ended, truncated=False)


def write_model(model, tokenizer):
    """Return the folder of a model."""
    folder = Path(_FOLDERS.name) / str(next(_NUMBERS))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@cache
def short_prompt():
    """A prompt of few tokens, which a tiny model learns fast."""
    path = Path(_FOLDERS.name) / "short.txt"
    path.write_text('"$task"\n$transcript\n$turn "$action" good or bad?\n', encoding="utf-8")
    return str(path)


@cache
def tiny_tokenizer():
    texts = [Path(prompts).with_name(name).read_text(encoding="utf-8") for name in ("read_v1.txt", "write_v1.txt")]
    lines = [
        f'{{"turn": {i}, "action": "go {way}", "observation": "Spot {i}."}}\n' for i in range(10) for way in ("north", "south")
    ]
    ends = ['{"end": {"progress": 1.0, "success": true}}\n', '{"end": {"progress": 0.0, "success": false}}\n']
    words = [" good", " bad", " good or bad?\n", '"Go north."\n', "Answer:", ' {"turn": 1, "score": 1.0}\n']
    return train_tokenizer([*texts, *(lines + ends + words) * 3], SHAPE.vocab_size)


@cache
def untrained_folder():
    """A model that knows nothing."""
    return write_model(build_tiny_model(tiny_tokenizer(), SHAPE, seed=0), tiny_tokenizer())


@cache
def reading_folder():
    """A model that answers " good" or " bad" to the short prompt."""
    words = {is_good: tiny_tokenizer().encode(word)[:1] for is_good, word in ((True, " good"), (False, " bad"))}
    return _train(lambda is_good: words[is_good], [(), ("south",), ("south", "north")], updates=40)


@cache
def writing_folder():
    """A model that answers with a line of JSON about turn 1 to the short prompt, whatever turn it is asked about."""
    line = ' {{"turn": 1, "score": {}}}\n<eos>'
    return _train(lambda is_good: tiny_tokenizer().encode(line.format(float(is_good))), [()], updates=60)


def _train(answer, beginnings, updates):
    model = build_tiny_model(tiny_tokenizer(), SHAPE, seed=0)
    examples = list(_lessons(TurnPrompt(tiny_tokenizer(), Path(short_prompt()), SHAPE.max_tokens, 64), answer, beginnings))
    width = max(len(ids) + len(reply) for ids, reply in examples)
    inputs, labels = torch.zeros(len(examples), width, dtype=torch.long), torch.full((len(examples), width), -100)
    for row, (ids, reply) in enumerate(examples):
        inputs[row, : len(ids) + len(reply)] = torch.tensor([*ids, *reply])
        labels[row, len(ids) : len(ids) + len(reply)] = torch.tensor(reply)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(updates):
        optimizer.zero_grad()
        model(input_ids=inputs, labels=labels).loss.backward()
        optimizer.step()
    return write_model(model, tiny_tokenizer())


def _lessons(prompt, answer, beginnings):
    """Yield prompts about both ways after some beginnings, ended and running, with the ids of the right answers."""
    for ended in (True, False):
        for before in beginnings:
            for way in ("north", "south"):
                episode = walk(*before, way, ended=ended, success=len(before) == 1)
                (window,) = prompt.windows(episode)
                ids = window.ids + prompt.outcome(episode, has_ended=ended) + prompt.question(len(before), f"go {way}")
                yield ids, answer(way == "north")
