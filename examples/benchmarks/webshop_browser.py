"""What a turn costs through a real browser: the click, the reading of the page, the start.

    python examples/benchmarks/webshop_browser.py

Plays the scripted buyer's episodes in ``mise/WebShopBrowser-v0`` and the same in ``mise/WebShop-v0``, turn by turn, in the same
run. The observation is also read the way WebShop's own browser environment does it, with one call of the driver per element and
the page parsed again (here with Python's standard parser, which does less), turn about with ours. Medians are shown.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from html.parser import HTMLParser

from mise_gym.envs.webshop import WebShopEnv
from mise_gym.envs.webshop_browser import _READ, WebShopBrowserEnv


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--episodes", type=int, default=20)
    arguments = parser.parse_args()
    browser, plain = WebShopBrowserEnv(), WebShopEnv()
    started = timed(lambda: browser.reset(options={"goal_index": 0}))
    print(f"first reset, with the start of the browser: {started:.0f} ms")
    resets, times = [], {"search": [], "click": [], "plain": [], "ours": [], "per element": []}
    for index in range(arguments.episodes):
        resets.append(timed(lambda index=index: browser.reset(options={"goal_index": index})))
        plain.reset(options={"goal_index": index})
        for action in browser.expert_actions():
            times[action.partition("[")[0]].append(timed(lambda action=action: browser.step(action)))
            times["plain"].append(timed(lambda action=action: plain.step(action)))
            times["ours"].append(timed(lambda: browser._shopper.window.run(_READ, False)))
            times["per element"].append(timed(lambda: read_per_element(browser)))
    show(resets, times)
    print(f"render as an array: {timed(browser_picture(browser)):.1f} ms")
    browser.close()


def show(resets: list[float], times: dict[str, list[float]]) -> None:
    """Print medians, and the ratios between them."""
    median = {name: statistics.median(values) for name, values in times.items()}
    print(f"reset {statistics.median(resets):.1f} ms, search {median['search']:.1f} ms, click {median['click']:.1f} ms (p50)")
    ratio = median["per element"] / median["ours"]
    print(f"observation {median['ours']:.1f} ms; element by element {median['per element']:.1f} ms: {ratio:.1f} times")
    print(f"turn in process {1000 * median['plain']:.0f} us: {median['click'] / median['plain']:,.0f} times faster than a click")


def read_per_element(env: WebShopBrowserEnv) -> list[str]:
    """Read a page with a call per element."""
    with env._shopper.window._browser.at(env._shopper.window._handle) as driver:
        texts = [element.text for element in driver.find_elements("css selector", "[data-click]")]
        HTMLParser().feed(driver.page_source)
    return texts


def browser_picture(env: WebShopBrowserEnv) -> Callable[[], object]:
    """Return a function that takes a picture of the first page."""
    env.render_mode = "rgb_array"
    env.reset(options={"goal_index": 0})
    return env.render


def timed(what: Callable[[], object]) -> float:
    """Return how long a call takes, in milliseconds."""
    before = time.perf_counter()
    what()
    return 1000 * (time.perf_counter() - before)


if __name__ == "__main__":
    main()
