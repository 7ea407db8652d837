"""ReplyCache: one file for many processes, sound after a kill."""

import os
import signal
import sqlite3
import subprocess
import sys

import pytest

from mise_gym.errors import ConfigError
from mise_gym.llm.cache import ReplyCache, cache_key

WRITER = """
import sys
from mise_gym.llm.cache import ReplyCache
path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
cache = ReplyCache(path)
print("ready", flush=True)
for number in range(count):
    cache.put(f"{name}-{number}", "x" * 2000, model="m", prompt="p")
"""


def writer(path, name, count):
    return subprocess.Popen([sys.executable, "-c", WRITER, path, name, str(count)], stdout=subprocess.PIPE)


def test_a_reply_is_found_again_after_the_file_was_closed(tmp_path):
    with ReplyCache(tmp_path / "new" / "cache.db") as cache:
        cache.put("k", "reply", model="m", prompt="p")
    with ReplyCache(tmp_path / "new" / "cache.db") as cache:
        assert (cache.get("k"), cache.get("other"), len(cache)) == ("reply", None, 1)


def test_a_reply_replaces_an_older_one(tmp_path):
    with ReplyCache(tmp_path / "cache.db") as cache:
        cache.put("k", "old", model="m", prompt="p")
        cache.put("k", "new", model="m", prompt="p")
        assert (cache.get("k"), len(cache)) == ("new", 1)


@pytest.mark.slow
def test_processes_write_at_the_same_time_and_nothing_is_lost(tmp_path):
    writers = [writer(tmp_path / "cache.db", f"w{number}", 150) for number in range(4)]
    assert [process.communicate(timeout=120)[0] for process in writers] == [b"ready\n"] * 4
    assert [process.returncode for process in writers] == [0] * 4
    with ReplyCache(tmp_path / "cache.db") as cache:
        assert len(cache) == 600


@pytest.mark.slow
def test_a_killed_writer_leaves_a_sound_file_with_what_it_had_written(tmp_path):
    path = tmp_path / "cache.db"
    process = writer(path, "killed", 10**6)
    assert process.stdout.readline() == b"ready\n"
    with ReplyCache(path) as cache:
        while len(cache) < 50:
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
        count = len(cache)
        assert [cache.get(f"killed-{number}") for number in range(count)] == ["x" * 2000] * count
        cache.put("after", "reply", model="m", prompt="p")
    checked = sqlite3.connect(path)
    assert checked.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    checked.close()


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a database at all, but long enough to be looked at\n" * 50)
    with pytest.raises(ConfigError, match=r"Cannot use .*notes\.txt' as a cache"):
        ReplyCache(path)


def test_a_database_of_something_else_is_refused(tmp_path):
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE replies (text TEXT)")
    other.close()
    with pytest.raises(ConfigError, match="no such column"):
        ReplyCache(tmp_path / "other.db")


def test_a_file_that_breaks_later_costs_replies_but_no_run(tmp_path, caplog):
    cache = ReplyCache(tmp_path / "cache.db")
    cache.close()
    cache.put("k", "reply", model="m", prompt="p")
    assert cache.get("k") is None
    assert ["cannot be written" in caplog.messages[0], "cannot be read" in caplog.messages[1]] == [True, True]


def test_the_key_depends_on_every_part():
    parts = {"model": "m", "messages": [{"role": "user", "content": "a"}], "temperature": 0}
    others = [{**parts, "model": "n"}, {**parts, "temperature": 1}, {**parts, "messages": []}, {**parts, "seed": 1}]
    assert len({cache_key(each) for each in [parts, *others]}) == 5


def test_the_file_is_in_the_mode_that_survives_kills(tmp_path):
    with ReplyCache(tmp_path / "cache.db") as cache:
        cache.put("k", "reply", model="m", prompt="p")
        assert os.path.exists(tmp_path / "cache.db-wal")
