"""Endpoint: arguments before the environment, and a key that shows nowhere."""

import pickle

import pytest

from mise_gym.errors import ConfigError
from mise_gym.llm.endpoint import Endpoint

KEY = "sk-very-secret"
LOCAL = "http://localhost:8000/v1"


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch):
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL"):
        monkeypatch.delenv(name, raising=False)


def test_arguments_come_before_the_environment(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere/v1")
    monkeypatch.setenv("OPENAI_MODEL", "other")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    endpoint = Endpoint("m", LOCAL + "/", KEY)
    assert (endpoint.model, endpoint.url("/chat/completions")) == ("m", "http://localhost:8000/v1/chat/completions")
    assert endpoint.headers() == {"authorization": f"Bearer {KEY}"}


def test_the_environment_is_read_where_arguments_are_missing(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", LOCAL)
    monkeypatch.setenv("OPENAI_MODEL", "m")
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")
    endpoint = Endpoint()
    assert (endpoint.model, endpoint.base_url) == ("m", LOCAL)
    assert endpoint.headers() == {"authorization": f"Bearer {KEY}"}


def test_without_an_address_it_is_openai():
    assert Endpoint("m", api_key=KEY).url("/chat/completions") == "https://api.openai.com/v1/chat/completions"


def test_openai_needs_a_key_and_a_local_server_does_not():
    assert Endpoint("m", LOCAL).headers() == {}
    with pytest.raises(ConfigError, match="Set the environment variable OPENAI_API_KEY"):
        Endpoint("m")


def test_a_model_is_needed():
    with pytest.raises(ConfigError, match="OPENAI_MODEL"):
        Endpoint(base_url=LOCAL)


def test_the_key_shows_neither_in_repr_nor_in_a_pickle():
    endpoint = Endpoint("m", LOCAL, KEY)
    assert KEY not in repr(endpoint) + str(endpoint)
    assert KEY.encode() not in pickle.dumps(endpoint)
    assert endpoint.hide_key(f"Incorrect key {KEY}!") == "Incorrect key [api key]!"


def test_a_copy_reads_the_key_from_the_environment(monkeypatch):
    pickled = pickle.dumps(Endpoint("m", LOCAL, KEY))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-there")
    assert pickle.loads(pickled).headers() == {"authorization": "Bearer sk-there"}


@pytest.mark.parametrize("key", ["sk-a b", "sk-a\nb", "sk-é"])
def test_a_key_that_cannot_be_sent_is_refused_without_showing_it(key):
    with pytest.raises(ConfigError) as refused:
        Endpoint("m", LOCAL, key)
    assert key not in str(refused.value)


def test_a_password_in_the_address_is_refused_without_showing_it():
    with pytest.raises(ConfigError, match="would be recorded") as refused:
        Endpoint("m", "http://me:secret@host/v1")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://host/v1", "http:///v1", "http://host/v1?key=1", "http://host:99999", "http://[::1"]
)
def test_what_is_no_address_is_refused(url):
    with pytest.raises(ConfigError, match="is not the address of a server"):
        Endpoint("m", url)
