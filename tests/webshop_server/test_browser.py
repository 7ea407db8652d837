"""The shop in a real browser: without JavaScript, with the keyboard, on a phone."""

from collections.abc import Iterator

import pytest
from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tests.webshop_server.odd_shop import odd_catalogue
from webshop_server.config import ShopConfig
from webshop_server.server import ShopServer

FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions", "--no-first-run",
         "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"]  # fmt: skip
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShopServer]:
    config = ShopConfig(catalogue=odd_catalogue(tmp_path_factory.mktemp("odd")), show_attributes=True)
    with ShopServer(config, port=0) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver")) as driver:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        yield driver


def arrive(browser: webdriver.Chrome, element: WebElement, *keys: str) -> None:
    """Type on an element, and wait for the page that this leads to, and for its style."""
    before = browser.current_url
    element.send_keys(*keys)
    wait = WebDriverWait(browser, 20, ignored_exceptions=[NoSuchElementException, StaleElementReferenceException])
    wait.until(lambda driver: driver.current_url != before)
    wait.until(lambda driver: driver.find_element(By.TAG_NAME, "footer").value_of_css_property("border-top-width") == "1px")


def labelled(browser: webdriver.Chrome, label: str) -> WebElement:
    return next(
        each for each in browser.find_elements(By.CSS_SELECTOR, "[data-click]") if each.get_dom_attribute("data-click") == label
    )


def pages(browser: webdriver.Chrome, server: ShopServer) -> Iterator[str]:
    """Shop with nothing but the keyboard, and stop on every page."""
    browser.get(server.url)
    yield "start"
    arrive(browser, browser.find_element(By.CSS_SELECTOR, ".errands button"), Keys.ENTER)
    yield "index"
    arrive(browser, browser.find_element(By.ID, "search_input"), "odd shoes", Keys.ENTER)
    yield "results"
    arrive(browser, labelled(browser, 'b/0?#&"<1'), Keys.ENTER)
    yield "item"
    arrive(browser, labelled(browser, "'\"><b>"), Keys.ENTER)
    arrive(browser, labelled(browser, "features"), Keys.ENTER)
    yield "features"
    arrive(browser, labelled(browser, "< prev"), Keys.ENTER)
    arrive(browser, labelled(browser, "buy now"), Keys.ENTER)
    yield "done"


def test_people_can_shop_without_javascript_and_without_a_mouse(browser: webdriver.Chrome, server: ShopServer) -> None:
    seen = {name: browser.find_element(By.TAG_NAME, "h1").text for name in pages(browser, server)}

    assert seen["start"] == "Pick an errand"
    assert seen["item"].startswith("Odd shoes </script><script>alert(1)</script>")
    assert seen["done"] == "Thank you for shopping with us!"
    assert "color: '\"><b>" in browser.find_element(By.CLASS_NAME, "thanks").text


def test_pages_fit_on_a_phone(browser: webdriver.Chrome, server: ShopServer) -> None:
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    widths = {}
    for name in pages(browser, server):
        layout = browser.execute_cdp_cmd("Page.getLayoutMetrics", {})
        widths[name] = layout["cssContentSize"]["width"]
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    assert widths == dict.fromkeys(["start", "index", "results", "item", "features", "done"], 390)


def test_the_browser_finds_nothing_to_complain_about(browser: webdriver.Chrome, server: ShopServer) -> None:
    browser.get_log("browser")
    for _ in pages(browser, server):
        pass

    assert browser.get_log("browser") == []


def test_the_first_tab_stop_skips_the_header_and_shows_itself(browser: webdriver.Chrome, server: ShopServer) -> None:
    browser.get(server.url)
    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    focused = browser.switch_to.active_element

    assert focused.text == "Skip to content"
    assert focused.value_of_css_property("outline-style") == "solid"
    assert focused.location["y"] >= 0
