"""Chat templates in the shapes that models come with, and a tokenizer that knows their marks."""

from typing import Any, Final

from tokenizers import AddedToken

from mise_gym.train.frame import COMMAND_INSTRUCTION, HINDSIGHT_QUESTION, THINKING_INSTRUCTION
from mise_gym.train.model import train_tokenizer
from mise_gym.train.text import BAD, GOOD
from tests.train.pantry import THINGS

MARKS: Final = (
    "<|im_start|>", "<|im_end|>", "<|header|>", "<|/header|>", "<|eot|>", "<turn>", "</turn>", "[INST]", "[/INST]",
)  # fmt: skip

TEMPLATES: Final = {
    "ChatML with a system message of its own": (
        "{% for message in messages %}{% if loop.first and message.role != 'system' %}"
        "<|im_start|>system\nYou are helpful.<|im_end|>\n{% endif %}"
        "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
    "headers, trimmed contents and the date": (
        "{{ bos_token }}<|header|>system<|/header|>\n\nToday: {{ strftime_now('%d %b %Y') }}<|eot|>"
        "{% for message in messages %}<|header|>{{ message.role }}<|/header|>\n\n{{ message.content | trim }}<|eot|>{% endfor %}"
        "{% if add_generation_prompt %}<|header|>assistant<|/header|>\n\n{% endif %}"
    ),
    "no system role, an assistant of another name": (
        "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('There is no system role') }}{% endif %}"
        "{% for message in messages %}{% if (message.role == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('Roles must alternate') }}{% endif %}"
        "<turn>{{ 'model' if message.role == 'assistant' else message.role }}\n{{ message.content | trim }}</turn>\n{% endfor %}"
        "{% if add_generation_prompt %}<turn>model\n{% endif %}"
    ),
    "a blank that the assistant writes, and the end of the text as the end of an answer": (
        "{{ bos_token }}{% for message in messages %}{% if message.role == 'user' %}[INST] {{ message.content }} [/INST]"
        "{% else %} {{ message.content }}{{ eos_token }}{% endif %}{% endfor %}"
    ),
    "former thoughts stripped": (
        "{% for message in messages %}<|im_start|>{{ message.role }}\n"
        "{{ message.content.split('</think>')[-1].lstrip('\n') }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
}

UNUSABLE: Final = {
    "the last message only": ("{{ messages[-1].content }}<|eot|>", "drops or repeats messages"),
    "the last message marked": (
        "{% for message in messages %}{{ 'now: ' if loop.last }}{{ message.content }}<|eot|>{% endfor %}",
        "writes a message in another way when others come behind it",
    ),
    "the rounds counted from the end": (
        "{% for message in messages %}{{ loop.revindex }}: {{ message.content }}<|eot|>{% endfor %}",
        "writes a message in another way when others come behind it",
    ),
    "an answer without an end": (
        "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant: ",
        "no token is special",
    ),
    "a refusal": ("{{ raise_exception('Only one message, please') }}", "cannot be rendered: Only one message, please"),
    "a mistake": ("{% for message in %}", "cannot be rendered"),
}


def chat_tokenizer(template: str | None) -> Any:
    words = [f" take {thing}\n" for thing in THINGS] + [" read label\n", " unlock pantry\n", " The label is long.", " Take the"]
    phrases = [COMMAND_INSTRUCTION, THINKING_INSTRUCTION, HINDSIGHT_QUESTION, GOOD, BAD, " :", "\n>", "\nHindsight:\n"]
    tokenizer = train_tokenizer([*words, *phrases] * 4, vocab_size=400)
    tokenizer.add_tokens([AddedToken(mark, special=True) for mark in MARKS])
    tokenizer.chat_template = template
    return tokenizer
