"""Tiny models that have learnt to answer a judge's question about two turns, for real servers to serve."""

import random

import torch

from mise_gym.train.model import TinyModelConfig, build_tiny_model, train_tokenizer
from tests.rewards.episodes import episode

CHAT = (
    "{% for message in messages %}<bos>{{ message['role'] }}\n{{ message['content'] }}<eos>{% endfor %}"
    "{% if add_generation_prompt %}<bos>assistant\n{% endif %}"
)
UPDATES = 60


def two_turns(number):
    """An episode of two turns; the number decides what happens in it."""
    rng = random.Random(number)
    return episode(2, name=f" {rng.randrange(1000)}", success=rng.random() < 0.5)


def taught(judge, answers):
    """Return a model, and its tokenizer, that answers every question of a judge about two turns with one of the answers."""
    questions = [judge._request(each, next(judge._windows(each))).messages for each in map(two_turns, range(16))]
    texts = ["".join(part["content"] for part in question) for question in questions]
    tokenizer = train_tokenizer([*texts, *answers, *answers], 600)
    tokenizer.chat_template = CHAT
    model = build_tiny_model(tokenizer, TinyModelConfig(hidden_size=64, num_heads=4, intermediate_size=128), seed=0)
    _teach(model, tokenizer, questions, answers)
    return model, tokenizer


def _teach(model, tokenizer, questions, answers):
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # more of them only wait for each other with a model this small
    for update in range(UPDATES):
        text = tokenizer.apply_chat_template(questions[update % len(questions)], tokenize=False, add_generation_prompt=True)
        answer = tokenizer.encode(answers[update % len(answers)] + "<eos>")
        ids = torch.tensor([tokenizer.encode(text) + answer])
        labels = torch.full_like(ids, -100)
        labels[0, -len(answer) :] = ids[0, -len(answer) :]
        loss = model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.set_num_threads(before)
