"""Chromium, driven through ChromeDriver: one for all windows of this process, and nothing left of it when Python is gone.

ChromeDriver runs under a guard, a shell that waits for the end of its standard input. This process holds the other end, so that
the guard notices however Python ends, SIGKILL included; then it ends everything in its process group, and removes the profile.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any, Final

from mise_gym.errors import ConfigError, SimulatorCrashed
from mise_gym.extras import require

_CHROMIUMS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_GUARD: Final = '"$1" --port=0 & exec >&-; read -r _; trap "" TERM; kill -TERM 0; sleep 0.3; rm -rf -- "$2"; kill -KILL 0'
_STARTED: Final = re.compile(r"started successfully on port (\d+)")
_FLAGS: Final = (
    "--no-sandbox",  # it needs rights that containers have not; nothing but the shop of this process is ever opened
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--metrics-recording-only",
    "--mute-audio",
    "--password-store=basic",
    "--disable-features=Translate,OptimizationHints,MediaRouter,DialMediaRouteProvider,BackForwardCache",
    "--window-size=1280,1000",
)
_WAIT_FOR_PICTURES: Final = "document.readyState === 'complete' ? arguments[0]() : addEventListener('load', arguments[0])"
_STOP_SECONDS: Final = 10.0


@dataclass(frozen=True, kw_only=True)
class BrowserSettings:
    """Which browser to start, and how."""

    chromium: str
    """Path of the browser."""
    chromedriver: str
    """Path of the driver."""
    has_screen: bool
    """Whether its windows are on the screen."""


def find_browser(chromium: str | None, chromedriver: str | None, *, has_screen: bool) -> BrowserSettings:
    """Return the browser to use.

    Args:
        chromium: Path or name of the browser; ``None`` looks for the usual names.
        chromedriver: Path or name of the driver; ``None`` looks for "chromedriver".
        has_screen: Whether its windows shall be on the screen.

    Raises:
        ConfigError: One of them is not there, or there is no screen.
        MissingExtraError: Selenium is not installed.
    """
    require("selenium")
    if os.name != "posix":
        raise ConfigError("The browser runs on Linux and macOS only. Use mise/WebShop-v0, which needs no browser.")
    if has_screen and sys.platform != "darwin" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise ConfigError(
            "render_mode='human' needs a screen, and DISPLAY is not set. Use 'rgb_array', or run it under xvfb-run."
        )
    return BrowserSettings(
        chromium=_find("Chromium", [chromium] if chromium else _CHROMIUMS, "chromium"),
        chromedriver=_find("ChromeDriver", [chromedriver or "chromedriver"], "chromedriver"),
        has_screen=has_screen,
    )


class Window:
    """A window of the browser. Threads may use different windows; made by ``open_window``.

    Args:
        browser: The browser.
        handle: How the driver calls the window.
    """

    def __init__(self, browser: "_Browser", handle: str) -> None:
        self._browser = browser
        self._handle = handle

    def open(self, address: str) -> None:
        """Load a page.

        Raises:
            SimulatorCrashed: The browser is gone, as in all methods.
        """
        with self._browser.at(self._handle) as driver:
            driver.get(address)

    def run(self, script: str, *arguments: Any) -> Any:
        """Run JavaScript in the page, and return what it returns."""
        with self._browser.at(self._handle) as driver:
            return driver.execute_script(script, *arguments)

    def picture(self) -> bytes:
        """Return what the window shows, as PNG."""
        with self._browser.at(self._handle) as driver:
            driver.execute_async_script(_WAIT_FOR_PICTURES)
            png: bytes = driver.get_screenshot_as_png()
        return png

    def close(self) -> None:
        """Close the window, and the browser with its last one; a second call does nothing."""
        self._browser.close_window(self._handle)


class _Browser:
    """A running browser and its windows.

    Raises:
        ConfigError: Browser and driver do not start together.
    """

    def __init__(self, settings: BrowserSettings) -> None:
        self._lock = threading.Lock()
        self._leaving: deque[str] = deque()
        self._owner = os.getpid()
        self._profile = tempfile.mkdtemp(prefix="mise-gym-browser-")
        command = ["/bin/sh", "-c", _GUARD, "sh", settings.chromedriver, self._profile]
        pipe = subprocess.PIPE
        environment = {**os.environ, "TMPDIR": self._profile}
        self._guard: subprocess.Popen[bytes] | None = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, start_new_session=True, env=environment
        )
        try:
            self._driver = self._connect(settings, self._guard)
        except BaseException:
            self.end()
            raise
        self._windows: set[str] = set()
        self._current = self._first = str(self._driver.current_window_handle)

    @property
    def is_usable(self) -> bool:
        """Whether the browser runs and belongs to this process."""
        return self._guard is not None and self._owner == os.getpid()

    @contextlib.contextmanager
    def at(self, handle: str) -> Iterator[Any]:
        """Hand out the driver, standing at a window, to one thread at a time."""
        try:
            with self._lock, self._standing_at(handle):
                yield self._driver
        finally:
            self._let_go()

    def open_window(self) -> Window:
        """Open a window; the first one is there already."""
        handle = self._first
        if self._windows:
            with self.at(next(iter(self._windows))) as driver:
                driver.switch_to.new_window("window")
                handle = self._current = str(driver.current_window_handle)
        self._windows.add(handle)
        return Window(self, handle)

    def close_window(self, handle: str) -> None:
        """Close a window, and the browser with its last one. May be called at any time, also by the garbage collector."""
        self._leaving.append(handle)
        self._let_go()

    def _let_go(self) -> None:
        """Close what is to be closed, unless the driver is busy: then it is done afterwards."""
        while self._leaving and self._lock.acquire(blocking=False):
            try:
                self._close(self._leaving.popleft())
            finally:
                self._lock.release()

    def _close(self, handle: str) -> None:
        if handle not in self._windows or not self.is_usable:
            return
        self._windows.discard(handle)
        if not self._windows:
            self.end()
            return
        with contextlib.suppress(SimulatorCrashed), self._standing_at(handle):
            self._driver.close()
            self._current = ""

    @contextlib.contextmanager
    def _standing_at(self, handle: str) -> Iterator[None]:
        foreign = require("selenium.common.exceptions").WebDriverException, require("urllib3.exceptions").HTTPError
        if not self.is_usable:
            raise SimulatorCrashed("The browser is gone, or belongs to another process. reset() starts a new one.")
        try:
            if self._current != handle:
                self._driver.switch_to.window(handle)
                self._current = handle
            yield
        except (*foreign, OSError) as error:
            self.end()
            raise SimulatorCrashed(f"The browser died: {_first_line(error)}. reset() starts a new one.") from error

    def end(self) -> None:
        """End the browser; a second call does nothing."""
        guard, self._guard = self._guard, None
        if guard is None or guard.stdin is None or guard.stdout is None:
            return
        guard.stdin.close()
        try:
            guard.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(guard.pid, 9)
            guard.wait()
        guard.stdout.close()
        shutil.rmtree(self._profile, ignore_errors=True)

    def disown(self) -> None:
        """Forget, in a forked child, what belongs to the parent: the guard must notice when the parent ends."""
        guard, self._guard = self._guard, None
        if guard is not None and guard.stdin is not None and guard.stdout is not None:
            guard.stdin.close()
            guard.stdout.close()
            guard.returncode = 0  # there is nothing to wait for here

    def _connect(self, settings: BrowserSettings, guard: subprocess.Popen[bytes]) -> Any:
        webdriver, exceptions = require("selenium.webdriver"), require("selenium.common.exceptions")
        options = webdriver.ChromeOptions()
        options.binary_location = settings.chromium
        options.page_load_strategy = "eager"  # text is there before pictures are
        for flag in (*_FLAGS, f"--user-data-dir={self._profile}", *([] if settings.has_screen else ["--headless=new"])):
            options.add_argument(flag)
        address = f"http://127.0.0.1:{_port(guard.stdout, settings)}"
        try:
            return webdriver.Remote(address, options=options)
        except exceptions.WebDriverException as error:
            raise ConfigError(
                f"{settings.chromium!r} does not start with {settings.chromedriver!r}: {_first_line(error)}. Install "
                "Chromium and ChromeDriver of the same version, or name a pair that fits with chromium= and chromedriver=."
            ) from error


_browsers: dict[BrowserSettings, _Browser] = {}
_lock = threading.Lock()


def open_window(settings: BrowserSettings) -> Window:
    """Open a window in the browser of this process, which is started for the first one.

    Raises:
        ConfigError: Browser and driver do not start together.
        SimulatorCrashed: The browser died in that moment.
    """
    with _lock:
        browser = _browsers.get(settings)
        if browser is None or not browser.is_usable:
            browser = _browsers[settings] = _Browser(settings)
        return browser.open_window()


def _disown_all() -> None:
    global _lock  # another thread of the parent may have held it
    _lock = threading.Lock()
    for browser in _browsers.values():
        browser.disown()
    _browsers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)


def _find(what: str, names: Sequence[str], argument: str) -> str:
    for name in names:
        if (path := shutil.which(name)) is not None:
            return path
    raise ConfigError(
        f"{what} is not installed: there is no {' or '.join(map(repr, names))}. Install it (on Debian: apt install chromium "
        f"chromium-driver), or say where it is with {argument}=."
    )


def _port(lines: IO[bytes] | None, settings: BrowserSettings) -> int:
    """Return where the driver listens, which it says when it is ready."""
    said = ""
    for line in lines or ():
        said = line.decode("utf-8", "replace").strip() or said
        if (match := _STARTED.search(said)) is not None:
            return int(match[1])
    raise ConfigError(f"{settings.chromedriver!r} is no working ChromeDriver; it said {said!r}. Give another one: chromedriver=.")


def _first_line(error: BaseException) -> str:
    """Return what is wrong in a line, without the driver's stack and Selenium's advertisement."""
    text = str(getattr(error, "msg", None) or error).partition("Stacktrace:")[0].partition("; For documentation")[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "; ".join(lines[:2]).rstrip(".;") or type(error).__name__
