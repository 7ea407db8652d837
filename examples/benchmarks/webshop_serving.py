"""How many pages a second the shop serves: waitress against Flask's development server, with the same application.

    python examples/benchmarks/webshop_serving.py --seconds 0.5 --rounds 15

Each server is a process of its own with one catalogue of generated products. A third process asks for pages over eight
connections, which are kept open where the server allows it, and never waits. The servers take turns; medians are shown, and
best rounds, which say more on a busy machine. Both servers are as they come: Flask's writes a line per request, to nowhere here.
"""

import argparse
import multiprocessing
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import cycle
from pathlib import Path
from urllib.parse import quote

from webshop_server.engine.catalogue import Catalogue
from webshop_server.engine.generator import generate_catalogue
from webshop_server.server import DEFAULT_THREADS

CONNECTIONS = 8
QUERIES = 40
TARGET_RATIO = 2.0
TARGET_SEARCHES = 1000
SERVER = """
import logging, socket, sys
from pathlib import Path
from webshop_server.app import create_app
from webshop_server.config import ShopConfig
from webshop_server.server import ShopServer
config = ShopConfig(catalogue=Path(sys.argv[2]))
if sys.argv[1] == "waitress":
    server = ShopServer(config, port=0, threads=int(sys.argv[3]))
    print(server.url.rpartition(":")[2], flush=True)
    server.run()
else:
    from werkzeug.serving import make_server
    logging.getLogger("werkzeug").setLevel(logging.INFO)
    server = make_server("127.0.0.1", 0, create_app(config), threaded=True)
    print(server.server_port, flush=True)
    server.serve_forever()
"""


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--products", type=int, default=1000, help="products of the catalogue (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.5, help="how long a round of one page lasts (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=15, help="(default: %(default)s)")
    parser.add_argument("--threads", type=int, default=DEFAULT_THREADS, help="threads of waitress (default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as workshop:
        folder = Path(workshop) / "catalogue"
        generate_catalogue(folder, arguments.products)
        with serving("waitress", folder, arguments.threads) as ours, serving("flask", folder, arguments.threads) as theirs:
            show(measure(folder, {"waitress": ours, "flask": theirs}, arguments.rounds, arguments.seconds))


def measure(folder: Path, ports: dict[str, int], rounds: int, seconds: float) -> dict[tuple[str, str], list[float]]:
    """Return pages a second: (page, server) -> one number per round."""
    targets = {name: targets_of(folder, port) for name, port in ports.items()}
    rates: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for page in ("search bar", "search", "product"):
            for name, port in ports.items():
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    rates.setdefault((page, name), []).append(pool.apply(rate, (port, targets[name][page], seconds)))
    return rates


def show(rates: dict[tuple[str, str], list[float]]) -> None:
    """Print medians and ratios."""
    print(f"requests a second: median (best); ratio of each, target {TARGET_RATIO:g}; searches, target {TARGET_SEARCHES:,}")
    for page in dict.fromkeys(page for page, _ in rates):
        ours, theirs = (rates[page, name] for name in ("waitress", "flask"))
        columns = [f"{statistics.median(each):>7,.0f} ({max(each):,.0f})" for each in (ours, theirs)]
        ratios = f"{statistics.median(ours) / statistics.median(theirs):.2f} ({max(ours) / max(theirs):.2f})"
        print(f"{page:<12} waitress {columns[0]:<18} flask {columns[1]:<18} {ratios}")


@contextmanager
def serving(name: str, folder: Path, threads: int) -> Iterator[int]:
    """Run a server in a process of its own and yield its port."""
    command = [sys.executable, "-c", SERVER, name, str(folder), str(threads)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def targets_of(folder: Path, port: int) -> dict[str, list[str]]:
    """Begin a visit, and return the addresses to ask for, page by page."""
    begun = ask(port, b"POST /visits HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    visit = begun.partition(b"/s/")[2].partition(b"/")[0].decode()
    catalogue = Catalogue(folder)
    goals = catalogue.goals("human")
    queries = list(dict.fromkeys(goals[number].query for number in range(len(goals))))[:QUERIES]
    search = [f"/s/{visit}/0/search?q={quote(query)}" for query in queries]
    ask(port, request(search[0], "close"))
    asin = catalogue.search(queries[0])[0].lower()
    return {"search bar": [f"/s/{visit}/0"], "search": search, "product": [f"/s/{visit}/1/click?name={quote(asin)}"]}


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
