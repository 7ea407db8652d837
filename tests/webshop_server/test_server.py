"""The shop under its real server: listening, stopping, starting again, and what is said when it cannot."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.core_only import run_with_the_core_only
from tests.webshop_server.small_shop import SHOES, small_catalogue, write_files
from webshop_server.config import ShopConfig
from webshop_server.engine.importer import import_catalogue
from webshop_server.engine.session import Session
from webshop_server.errors import ServingError
from webshop_server.past_visit import PastVisit
from webshop_server.server import ShopServer

SERVE = [sys.executable, "-m", "webshop_server", "--port"]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ShopConfig:
    return ShopConfig(catalogue=small_catalogue(tmp_path_factory.mktemp("shop")).folder)


@pytest.fixture
def server(config: ShopConfig) -> Iterator[ShopServer]:
    with ShopServer(config, port=0) as running:
        yield running


def start_process(config: ShopConfig, port: int, *words: str) -> tuple["subprocess.Popen[str]", str]:
    """Start the command and wait for the line with the address."""
    process = subprocess.Popen(
        [*SERVE, str(port), "--catalogue", str(config.catalogue), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+", line)
    assert found, (line, process.poll())
    return process, found[0]


def finish(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """Return what the process still said."""
    with process:
        return process.communicate(timeout=30)


class TestHandle:
    def test_it_listens_on_this_machine_only(self, server: ShopServer) -> None:
        assert server.url.startswith("http://127.0.0.1:")
        with urlopen(server.url) as response:
            assert response.status == 200
            assert "waitress" not in str(response.headers)

    def test_a_visit_can_be_opened_without_a_request(self, server: ShopServer) -> None:
        visit = server.storefront.open_visit(server.storefront.errand("human", 1))

        with urlopen(server.address_of(visit)) as response:
            assert visit.errand.goal.instruction_text in response.read().decode()

    def test_stopping_leaves_nothing_behind(self, config: ShopConfig) -> None:
        before = set(threading.enumerate())
        server = ShopServer(config, port=0)
        server.start()
        urlopen(server.url).close()
        server.stop()
        server.stop()

        assert set(threading.enumerate()) == before
        with pytest.raises(URLError, match="refused"):
            urlopen(server.url)

    def test_a_server_that_was_never_started_can_be_stopped(self, config: ShopConfig) -> None:
        before = set(threading.enumerate())
        ShopServer(config, port=0).stop()

        assert set(threading.enumerate()) == before

    def test_two_servers_do_not_know_each_others_visits(self, config: ShopConfig, server: ShopServer) -> None:
        visit = server.storefront.open_visit(server.storefront.errand("human", 0))
        with ShopServer(config, port=0) as other, pytest.raises(URLError, match="404"):
            urlopen(other.address_of(visit))

    def test_an_open_connection_does_not_keep_it_from_stopping(self, config: ShopConfig) -> None:
        server = ShopServer(config, port=0)
        server.start()
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
        connection.request("GET", "/")
        connection.getresponse().read()
        server.stop()
        connection.close()

        assert not any(thread.name == "webshop" for thread in threading.enumerate())


class TestSlowClients:
    @pytest.mark.integration
    def test_one_that_reads_nothing_of_many_large_pages_does_not_hold_up_others(self, tmp_path: Path) -> None:
        import_catalogue(write_files(tmp_path, [SHOES | {"full_description": "! " * 1_000_000}]), tmp_path / "catalogue")
        with ShopServer(ShopConfig(catalogue=tmp_path / "catalogue"), port=0) as server:
            visit = server.storefront.open_visit(server.storefront.errand("human", 0))
            page = visit.act(visit.act(visit.act(0, "search[shoes]").step, "click[b000000001]").step, "click[description]").step
            with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as idler:
                idler.sendall(f"GET /s/{visit.id}/{page} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * 10)
                with urlopen(server.url, timeout=20) as response:
                    assert response.status == 200

    def test_a_body_is_refused_before_all_of_it_is_sent(self, server: ShopServer) -> None:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=20)
        connection.putrequest("POST", "/visits")
        connection.putheader("Content-Length", "1000000000")
        connection.endheaders(b"x" * 100)

        assert connection.getresponse().status == 413
        connection.close()


def test_the_address_that_it_listens_on_is_a_name_of_the_shop(config: ShopConfig) -> None:
    with ShopServer(config, host="127.0.0.2", port=0) as server, urlopen(server.url) as response:
        assert response.status == 200


def test_visits_end_with_the_server(config: ShopConfig) -> None:
    reports: list[PastVisit] = []
    with ShopServer(replace(config, on_end=reports.append), port=0) as server:
        server.storefront.open_visit(server.storefront.errand("human", 0)).act(0, "search[tea]")

    assert [(past.errand.number, past.ending) for past in reports] == [(0, "closed")]


class TestBadAddresses:
    def test_a_port_in_use_is_told(self, config: ShopConfig, server: ShopServer) -> None:
        port = int(server.url.rpartition(":")[2])

        with pytest.raises(
            ServingError, match=f"Port {port} of 127.0.0.1 is in use. Choose another one, or 0 for any that is free."
        ):
            ShopServer(config, port=port)

    @pytest.mark.parametrize(
        ("host", "port", "sentence"),
        [
            ("127.0.0.1", 65536, "The port is 65536"),
            ("127.0.0.1", -1, "The port is -1"),
            ("192.0.2.1", 0, "cannot listen on '192.0.2.1'"),
        ],
    )
    def test_an_address_that_is_none_is_told(self, config: ShopConfig, host: str, port: int, sentence: str) -> None:
        with pytest.raises(ServingError, match=sentence):
            ShopServer(config, host=host, port=port)


def test_two_hundred_visits_at_once_are_not_mixed_up(server: ShopServer) -> None:
    """Half of the shoppers buy the shoes, the others the tea, and each must find the own goal, pages and score all the way."""
    ways = [
        ["search[alderway trail]", "click[b000000001]", "click[red]"],
        ["search[tea]", "click[b000000003]", "click[features]"],
    ]

    def shop(number: int) -> list[str]:
        errand = server.storefront.errand("human", number % 2)
        visit = server.storefront.open_visit(errand)
        session, wrong = Session(server.storefront.catalogue, errand.goal, errand.session_id), []
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
        step = 0
        for action in ways[number % 2]:
            session.act(action)
            name, words = re.fullmatch(r"(\w+)\[(.*)\]", action).groups()  # type: ignore[union-attr]
            target = f"search?q={words}" if name == "search" else f"click?name={words}"
            connection.request("GET", f"/s/{visit.id}/{step}/{target}".replace(" ", "%20"))
            state = json.loads(connection.getresponse().read().decode().partition('id="state">')[2].partition("</script>")[0])
            step = state["step"]
            wrong += [action] if state["text"] != session.show("text") else []
        connection.close()
        return wrong

    with ThreadPoolExecutor(40) as pool:
        assert [wrong for wrong in pool.map(shop, range(200)) if wrong] == []


@pytest.mark.slow
def test_a_crowd_that_checks_every_page_finds_nothing_wrong() -> None:
    script = Path(__file__).parents[2] / "examples" / "benchmarks" / "webshop_load.py"
    command = [sys.executable, str(script), "--sessions", "200", "--seconds", "5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    assert (done.returncode, done.stderr) == (0, "")
    assert "wrong: 0" in done.stdout


def test_without_the_extra_it_says_what_to_install(config: ShopConfig, tmp_path: Path) -> None:
    words = ["webshop_server", "--port", "0", "--catalogue", str(config.catalogue)]
    program = f"import runpy; sys.argv = {words}; runpy.run_module('webshop_server', run_name='__main__')"
    done = run_with_the_core_only(tmp_path, program)

    assert done.returncode == 2
    assert done.stderr == "webshop_server: waitress is not installed. Run: pip install 'mise-gym[webshop]'\n"


@pytest.mark.integration
class TestCommand:
    def test_it_says_where_it_is_and_ctrl_c_ends_it(self, config: ShopConfig) -> None:
        process, url = start_process(config, 0)
        urlopen(url).close()
        process.send_signal(signal.SIGINT)

        assert finish(process) == ("The shop is closed.\n", "")
        assert process.returncode == 0

    def test_killed_and_restarted_it_serves_at_once(self, config: ShopConfig) -> None:
        process, url = start_process(config, 0)
        connection = http.client.HTTPConnection(url.removeprefix("http://"))
        connection.request("GET", "/")
        connection.getresponse().read()
        process.kill()
        finish(process)
        process, again = start_process(config, int(url.rpartition(":")[2]))
        with urlopen(again) as response:
            assert (again, response.status) == (url, 200)
        connection.close()
        process.terminate()
        finish(process)

    def test_the_log_has_a_line_per_request(self, config: ShopConfig, tmp_path: Path) -> None:
        process, url = start_process(config, 0, "--log", str(tmp_path / "shop.log"))
        urlopen(f"{url}/?q=tea").close()
        process.send_signal(signal.SIGINT)
        finish(process)

        assert (tmp_path / "shop.log").read_text().endswith("INFO GET '/?q=tea' 200\n")

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            (["--catalogue", "/no/such/folder"], "'/no/such/folder' is not a catalogue"),
            (["--catalogue", os.fspath(Path(__file__).parent)], "is not a catalogue: it has no catalogue.sqlite"),
            (["--log", "/no/such/folder/log"], "The log '/no/such/folder/log' cannot be written"),
        ],
    )
    def test_bad_input_is_answered_with_one_sentence(self, config: ShopConfig, words: list[str], sentence: str) -> None:
        done = subprocess.run(
            [*SERVE, "0", "--catalogue", str(config.catalogue), *words], capture_output=True, text=True, check=False, timeout=60
        )

        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert done.stderr.startswith("webshop_server: ")
        assert sentence in done.stderr

    def test_a_port_in_use_is_answered_with_one_sentence(self, config: ShopConfig) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            done = subprocess.run(
                [*SERVE, port, "--catalogue", str(config.catalogue)], capture_output=True, text=True, check=False, timeout=60
            )

        assert done.returncode == 2
        assert (
            done.stderr == f"webshop_server: Port {port} of 127.0.0.1 is in use. Choose another one, or 0 for any that is free.\n"
        )
