"""Endpoint: which model is asked, where, and with which key; the key shows nowhere."""

import os
from typing import Final
from urllib.parse import urlsplit

from mise_gym.errors import ConfigError

OPENAI_URL: Final = "https://api.openai.com/v1"

_HIDDEN: Final = "[api key]"


class Endpoint:
    """An OpenAI-compatible endpoint and a model behind it.

    The key is left out of ``repr`` and of pickles: a copy in another process reads it from the environment again.

    Args:
        model: Name of the model; ``None`` reads the environment variable ``OPENAI_MODEL``.
        base_url: Where ``/chat/completions`` and its like are found; ``None`` reads ``OPENAI_BASE_URL``, and without it is
            OpenAI's own.
        api_key: Sent as a bearer token; ``None`` reads ``OPENAI_API_KEY``. Local servers need none.

    Raises:
        ConfigError: There is no model, the address is not one, or the key is missing or has characters that no key has.
    """

    def __init__(self, model: str | None = None, base_url: str | None = None, api_key: str | None = None) -> None:
        self.model = model or os.environ.get("OPENAI_MODEL", "")
        self.base_url = _checked_url(base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL)
        self._api_key = (api_key or os.environ.get("OPENAI_API_KEY", "")).strip()
        if not self.model:
            raise ConfigError("No model was named. Give model='...', or set the environment variable OPENAI_MODEL.")
        if self.base_url == OPENAI_URL and not self._api_key:
            raise ConfigError(
                "No key for OpenAI's endpoint. Set the environment variable OPENAI_API_KEY, "
                "or give base_url (or OPENAI_BASE_URL) of another server."
            )
        if not (self._api_key.isascii() and self._api_key.isprintable() and " " not in self._api_key):
            raise ConfigError("The API key has blanks, line breaks or other characters that cannot be sent. Copy it again.")

    def url(self, path: str) -> str:
        """Return the address of one of the endpoint's services, such as ``/chat/completions``."""
        return self.base_url + path

    def headers(self) -> dict[str, str]:
        """Return the headers of a request; they hold the key."""
        return {"authorization": f"Bearer {self._api_key}"} if self._api_key else {}

    def hide_key(self, text: str) -> str:
        """Return ``text`` without the key, for messages that quote a server."""
        return text.replace(self._api_key, _HIDDEN) if self._api_key else text

    def __repr__(self) -> str:
        return f"Endpoint(model={self.model!r}, base_url={self.base_url!r})"

    def __reduce__(self) -> tuple[type["Endpoint"], tuple[str, str]]:
        return type(self), (self.model, self.base_url)


def _checked_url(url: str) -> str:
    if "@" in url:
        raise ConfigError("The base URL holds a user name or password, which would be recorded. Give the key as api_key.")
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and parts.hostname and not parts.query and parts.port != 0
    except ValueError:  # a port or a bracketed host that is none
        is_address = False
    if not is_address:
        raise ConfigError(f"base_url={url!r} is not the address of a server. Give one like 'http://localhost:8000/v1'.")
    return url.rstrip("/")
