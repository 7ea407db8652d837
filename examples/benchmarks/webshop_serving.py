"""How many pages a second the shop serves: waitress against Flask's development server, with the same application.

    python examples/benchmarks/webshop_serving.py --seconds 0.5 --rounds 15

Each server is a process of its own with one catalogue of generated products. A third process asks for pages over eight
connections, which are kept open where the server allows it, and never waits. The servers take turns; medians are shown, best
rounds, which say more on a busy machine, and the processor time that a page took in the server, which says most there (Linux).
Both servers are as they come: Flask's writes a line per request, to nowhere here.

What the ratio means: both servers compute the same page, which takes a microseconds, and spend w or f on reading requests and
sending answers; the ratio is (f + a) / (w + a). A cheaper page helps both and brings the ratio nearer to f / w, which the line
"nothing" shows: an answer of the size of a page that costs nothing to make.
"""

import argparse
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from urllib.parse import quote

from webshop_server.engine.catalogue import Catalogue
from webshop_server.engine.generator import generate_catalogue

CONNECTIONS = 8
QUERIES = 40
PAGES = ("nothing", "start", "search bar", "results", "product", "picture")
TARGET_RATIO = 2.0
TARGET_SEARCHES = 1000
SERVER = """
import logging, sys
from pathlib import Path
from webshop_server import app
from webshop_server.config import ShopConfig
from webshop_server.server import ShopServer
config, create = ShopConfig(catalogue=Path(sys.argv[2])), app.create_app
def create_with_nothing(config):
    shop = create(config)
    pages = shop.wsgi_app
    def nothing(environ, start):
        if environ["PATH_INFO"] != "/nothing":
            return pages(environ, start)
        start("200 OK", [("Content-Type", "text/html"), ("Content-Length", "8000")])
        return [b" " * 8000]
    shop.wsgi_app = nothing
    return shop
app.create_app = create_with_nothing
if sys.argv[1] == "waitress":
    server = ShopServer(config, port=0)
    print(server.url.rpartition(":")[2], flush=True)
    server.run()
else:
    from werkzeug.serving import make_server
    logging.getLogger("werkzeug").setLevel(logging.INFO)
    server = make_server("127.0.0.1", 0, app.create_app(config), threaded=True)
    print(server.server_port, flush=True)
    server.serve_forever()
"""


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--products", type=int, default=1000, help="products of the catalogue (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.5, help="how long a round of one page lasts (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=12, help="(default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as workshop:
        folder = Path(workshop) / "catalogue"
        generate_catalogue(folder, arguments.products)
        with serving("waitress", folder) as ours, serving("flask", folder) as theirs:
            show(measure(folder, {"waitress": ours, "flask": theirs}, arguments.rounds, arguments.seconds))


@dataclass(frozen=True)
class Running:
    """A server that runs."""

    process: int
    port: int

    def processor_seconds(self) -> float:
        """Return how much processor time it has taken."""
        numbers = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Rounds:
    """What was measured of a page and a server."""

    rates: list[float] = field(default_factory=list)
    pages: float = 0.0
    processor_seconds: float = 0.0

    @property
    def cost(self) -> float:
        """Microseconds of processor time per page."""
        return 1e6 * self.processor_seconds / self.pages


def measure(folder: Path, servers: dict[str, Running], rounds: int, seconds: float) -> dict[tuple[str, str], Rounds]:
    """Return what the rounds of each page and server gave."""
    targets = {name: targets_of(folder, server.port) for name, server in servers.items()}
    results: dict[tuple[str, str], Rounds] = defaultdict(Rounds)
    for _ in range(rounds):
        for page in PAGES:
            for name, server in servers.items():
                before = server.processor_seconds()
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    pages_a_second = pool.apply(rate, (server.port, targets[name][page], seconds))
                result = results[page, name]
                result.rates.append(pages_a_second)
                result.pages += pages_a_second * seconds
                result.processor_seconds += server.processor_seconds() - before
    return results


def show(results: dict[tuple[str, str], Rounds]) -> None:
    """Print medians and ratios."""
    print(f"pages a second: median (best), processor time a page; ratios: target {TARGET_RATIO:g}; results: {TARGET_SEARCHES:,}")
    for page in PAGES:
        ours, theirs = (results[page, name] for name in ("waitress", "flask"))
        columns = [
            f"{statistics.median(each.rates):>7,.0f} ({max(each.rates):,.0f}) {each.cost:.0f} us" for each in (ours, theirs)
        ]
        median, best = (f(ours.rates) / f(theirs.rates) for f in (statistics.median, max))
        ratios = f"{median:.2f} (best {best:.2f}, processor {theirs.cost / ours.cost:.2f})"
        print(f"{page:<12} waitress {columns[0]:<26} flask {columns[1]:<26} {ratios}")


@contextmanager
def serving(name: str, folder: Path) -> Iterator[Running]:
    """Run a server in a process of its own."""
    command = [sys.executable, "-c", SERVER, name, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield Running(process.pid, int(process.stdout.readline()))
        finally:
            process.terminate()


def targets_of(folder: Path, port: int) -> dict[str, list[str]]:
    """Begin a visit, and return the addresses to ask for, page by page."""
    begun = ask(port, b"POST /visits HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    visit = begun.partition(b"/s/")[2].partition(b"/")[0].decode()
    catalogue = Catalogue(folder)
    goals = catalogue.goals("human")
    queries = list(dict.fromkeys(goals[number].query for number in range(len(goals))))[:QUERIES]
    search = [f"/s/{visit}/0/search?q={quote(query)}" for query in queries]
    ask(port, request(search[0], "close"))
    asin = catalogue.search(queries[0])[0].lower()
    pages = {"search bar": [f"/s/{visit}/0"], "results": search, "product": [f"/s/{visit}/1/click?name={quote(asin)}"]}
    return {"nothing": ["/nothing"], "start": ["/"], **pages, "picture": [f"/pictures/{asin.upper()}.svg"]}


def rate(port: int, targets: Sequence[str], seconds: float) -> float:
    """Return how many pages a second come back, asking without a pause."""
    requests = cycle([request(target, "keep-alive") for target in targets])
    connections: list[socket.socket | None] = [None] * CONNECTIONS
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for place, known in enumerate(connections):
            connections[place] = known or socket.create_connection(("127.0.0.1", port))
            connections[place].sendall(next(requests))  # type: ignore[union-attr]  # connected in the line above
        for place, connection in enumerate(connections):
            assert connection is not None
            if not read_page(connection):
                connection.close()
                connections[place] = None
            count += 1
    elapsed = time.perf_counter() - start
    for connection in connections:
        if connection is not None:
            connection.close()
    return count / elapsed


def read_page(connection: socket.socket) -> bool:
    """Read an answer to its end, and return whether the connection stays open."""
    data = connection.recv(65536)
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    assert b" 200 " in head[:16], head
    missing = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]) - len(body)
    while missing > 0:
        missing -= len(connection.recv(65536))
    return not head.startswith(b"HTTP/1.0") and b"connection: close" not in head.lower()


def ask(port: int, data: bytes) -> bytes:
    """Send one request and return all that comes back."""
    with closing(socket.create_connection(("127.0.0.1", port))) as connection:
        connection.sendall(data)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


def request(target: str, connection: str) -> bytes:
    """Return the bytes of a request."""
    return f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: {connection}\r\n\r\n".encode()


if __name__ == "__main__":
    main()
