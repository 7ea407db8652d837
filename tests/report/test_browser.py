"""The report in a real browser: nothing is fetched, nothing goes wrong, and hostile text does nothing."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from mise_gym.report import write_report
from mise_gym.rewards.relabel import RelabelConfig, relabel
from mise_gym.trajectories import write_episodes
from mise_gym.types import Episode, Transition

HOSTILE = (
    "</pre></details><script>document.title = 'owned'</script><img src='http://127.0.0.1:9/x.png' onerror='document.title=1'>"
    "<link rel=stylesheet href=http://127.0.0.1:9/x.css> \ud800 {{ 7 * 7 }}"
)


def episode(number: int) -> Episode:
    won = number % 2 == 0
    turns = (
        Transition(observation=HOSTILE, action=HOSTILE, reward=0.0, next_observation=HOSTILE),
        Transition(
            observation="A hall.", action="go " + "very" * 40, reward=float(won), next_observation="Out." if won else HOSTILE
        ),
    )
    return Episode(
        task=HOSTILE, transitions=turns, progress=float(won), success=won, terminated=won, truncated=not won, task_id=HOSTILE
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_episodes(folder / "in.jsonl", [episode(number) for number in range(40)])
    relabel(folder / "in.jsonl", folder / "<b>out.jsonl", RelabelConfig(judge="heuristic"))
    return write_report(folder / "<b>out.jsonl", folder / "report.html")


@pytest.fixture(scope="module")
def browser(page: Path) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=400,900"):
        options.add_argument(argument)
    options.binary_location = shutil.which("chromium") or ""
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    driver.get(page.as_uri())
    yield driver
    driver.quit()


@pytest.mark.integration
def test_nothing_but_the_page_is_fetched_and_nothing_goes_wrong(browser: webdriver.Chrome, page: Path) -> None:
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    fetched = {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}

    assert fetched == {page.as_uri()}
    assert browser.get_log("browser") == []


@pytest.mark.integration
def test_hostile_text_is_shown_and_does_nothing(browser: webdriver.Chrome) -> None:
    assert browser.title == "<b>out.jsonl - mise-gym report"
    assert browser.find_elements(By.CSS_SELECTOR, "script, img, link, iframe, h1 b") == []
    shown = browser.find_element(By.CSS_SELECTOR, "details ol pre").text
    assert shown == HOSTILE.replace("\ud800", "\\ud800")


@pytest.mark.integration
def test_the_page_is_not_wider_than_a_telephone(browser: webdriver.Chrome) -> None:
    wide, window = browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")

    assert wide <= window


@pytest.mark.integration
def test_a_ringed_dot_opens_its_transcript(browser: webdriver.Chrome) -> None:
    assert len(browser.find_elements(By.CSS_SELECTOR, "details[open]")) == 1
    dots = browser.find_elements(By.CSS_SELECTOR, "figure a")
    browser.execute_script("arguments[0].dispatchEvent(new MouseEvent('click', {bubbles: true}))", dots[-1])

    WebDriverWait(browser, 10).until(lambda _: "#transcript-" in browser.current_url)
    target = browser.find_element(By.ID, browser.current_url.partition("#")[2])
    assert target.is_displayed()
    assert target.get_property("textContent").startswith("Task")
