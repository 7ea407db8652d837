"""Whether the shop keeps many visits apart: 200 shoppers at once, each of whom checks every page against the engine.

    python examples/benchmarks/webshop_load.py --sessions 200 --seconds 60

The shop runs in a process of its own. Each shopper has a connection and a goal, and takes random actions; the observation, what
can be clicked, and the reward of every page must be those of a session in this process after the same actions. Exits with 1 if
one is not, or if the server fails.
"""

import argparse
import http.client
import json
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, urlencode

from webshop_server.engine.catalogue import Catalogue
from webshop_server.engine.generator import generate_catalogue
from webshop_server.engine.session import Session

PRODUCTS = 200
WORDS = ("boots", "tea", "for travel", "black", "lamp", "cream", "home and office", "size")
STATE = re.compile(r'id="state">(.*?)</script>', re.DOTALL)
LONGEST_VISIT = 25


def main() -> int:
    """Let shoppers in for some time, and count what was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=200, help="shoppers at a time (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="for how long (default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as workshop:
        folder = Path(workshop) / "catalogue"
        generate_catalogue(folder, PRODUCTS)
        command = [sys.executable, "-m", "webshop_server", "--port", "0", "--catalogue", str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            try:
                port = int(server.stdout.readline().partition("127.0.0.1:")[2].split()[0])
                counts = crowd(port, folder, arguments.sessions, arguments.seconds)
            finally:
                server.terminate()
                server.stdout.read()
    print(f"{counts['pages']:,} pages, {counts['visits']:,} visits, {counts['purchases']:,} purchases; wrong: {counts['wrong']}")
    print(f"{counts['pages'] / arguments.seconds:,.0f} pages a second (the shoppers' own checks included)")
    return 1 if counts["wrong"] or not counts["purchases"] else 0


def crowd(port: int, folder: Path, sessions: int, seconds: float) -> Counter[str]:
    """Run the shoppers and return what they counted."""
    catalogue, stop, counts = Catalogue(folder), time.monotonic() + seconds, Counter[str]()
    lock = threading.Lock()

    def shop(number: int) -> None:
        shopper, own = Shopper(port, catalogue, random.Random(number)), Counter[str]()
        try:
            while time.monotonic() < stop:
                own.update(shopper.visit(stop))
        except (OSError, http.client.HTTPException, ValueError) as error:
            print(f"shopper {number}: {error!r}", file=sys.stderr)
            own["wrong"] += 1
        with lock:
            counts.update(own)

    threads = [threading.Thread(target=shop, args=(number,)) for number in range(sessions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counts


class Shopper:
    """One shopper with a connection.

    Args:
        port: Where the shop is.
        catalogue: What it sells.
        rng: Chooses goals and actions.
    """

    def __init__(self, port: int, catalogue: Catalogue, rng: random.Random) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._catalogue = catalogue
        self._rng = rng

    def visit(self, stop: float) -> Counter[str]:
        """Take random actions up to a purchase, and compare every page."""
        number = self._rng.randrange(len(self._catalogue.goals("human")))
        session = Session(self._catalogue, self._catalogue.goals("human")[number], str(number))
        address = self._ask("POST", "/visits", urlencode({"goals": "human", "goal": number})).rpartition("/")[0]
        counts, step, purchase = Counter(visits=1), 0, 0.0
        for turn in range(LONGEST_VISIT):
            if time.monotonic() > stop:
                break
            action = self._choose(session.actions(), turn)
            outcome = session.act(action)
            state = self._act(f"{address}/{step}", action)
            step, purchase = state["step"], outcome.reward
            expected = (session.show("text"), session.clickables, outcome.is_done, purchase)
            counts["pages"] += 1
            counts["wrong"] += expected != (state["text"], state["clickables"], state["done"], state["reward"])
            if outcome.is_done:
                counts["purchases"] += 1
                break
        return counts

    def _choose(self, actions: Sequence[str], turn: int) -> str:
        if turn == 0:
            return f"search[{self._rng.choice(WORDS)}]"
        products = [action for action in actions if action.startswith("click[b") and action != "click[back to search]"]
        others = [action for action in actions if action not in ("search[...]", "click[back to search]")]
        return self._rng.choice(products or others or [f"search[{self._rng.choice(WORDS)}]"])

    def _act(self, page: str, action: str) -> dict[str, object]:
        name, argument = action[:-1].split("[", 1)
        if argument == "buy now":
            text = self._ask("GET", self._ask("POST", f"{page}/buy"))
        else:
            text = self._ask("GET", f"{page}/{name}?{'q' if name == 'search' else 'name'}={quote(argument, safe='')}")
        found = STATE.search(text)
        if found is None:
            raise ValueError(f"No state on the page after {action!r}.")
        state: dict[str, object] = json.loads(found[1])
        return state

    def _ask(self, method: str, target: str, body: str | None = None) -> str:
        """Return the page, or where it is."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
        self._connection.request(method, target, body, headers)
        response = self._connection.getresponse()
        text = response.read().decode()
        if response.status not in (200, 303):
            raise ValueError(f"{method} {target}: {response.status}")
        return response.headers["Location"] if response.status == 303 else text


if __name__ == "__main__":
    sys.exit(main())
