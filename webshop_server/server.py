"""ShopServer: the shop under waitress, in this process."""

import contextlib
import errno
import socket
import sys
import threading
from collections import deque
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Self

from webshop_server.config import ShopConfig
from webshop_server.errors import ServingError
from webshop_server.hosts import EVERYWHERE
from webshop_server.storefront import Storefront
from webshop_server.visits import Visit

DEFAULT_PORT: Final = 3000
MOST_PORT: Final = 65535
MOST_CONNECTIONS: Final = 1000
"""Open at the same time."""
_STOP_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 1.0


class ShopServer:
    """A shop that listens from the moment it is made, and answers once it runs: ``start`` for a thread, ``run`` for this one.

    Pages are computed, not waited for, and Python computes one at a time. So one thread reads requests and makes pages; handing
    them to other threads took twice as long as making one.

    Args:
        config: Settings of the shop.
        host: Where to listen. The shop has no passwords: other addresses than the default are for networks that you trust.
        port: Where to listen; 0 takes a free port.

    Raises:
        CatalogueError: The folder of the catalogue is not one.
        ServingError: The port is in use or the address is not of this machine, or Flask or waitress is not installed.

    Example:
        >>> from urllib.request import urlopen
        >>> from webshop_server.config import ShopConfig, default_folder
        >>> with ShopServer(ShopConfig(catalogue=default_folder()), port=0) as server:
        ...     visit = server.storefront.open_visit(server.storefront.errand("human", 17))
        ...     page = urlopen(server.address_of(visit)).read().decode()
        >>> visit.errand.goal.instruction_text in page
        True
    """

    def __init__(self, config: ShopConfig, *, host: str = "127.0.0.1", port: int = DEFAULT_PORT) -> None:
        try:
            from waitress import create_server

            from webshop_server.app import LARGEST_BODY, create_app
        except ModuleNotFoundError as error:
            raise ServingError(f"{error.name} is not installed. Run: pip install 'mise-gym[webshop]'") from error
        app = create_app(replace(config, host_names=(*config.host_names, host)))
        self.storefront: Storefront = app.extensions["storefront"]
        listener = _listen(host, port)
        self._sockets: dict[int, Any] = {}
        self._tasks = _Tasks()
        self._thread: threading.Thread | None = None
        self._server = create_server(
            app,
            map=self._sockets,
            sockets=[listener],
            connection_limit=MOST_CONNECTIONS,
            max_request_body_size=LARGEST_BODY,
            outbuf_high_watermark=sys.maxsize,  # a task would wait there for the thread that it runs in
            ident=None,
            _dispatcher=self._tasks,
        )
        self.url = f"http://{_in_url(host)}:{listener.getsockname()[1]}"
        """Address of the start page, without a slash at the end."""

    def address_of(self, visit: Visit) -> str:
        """Return the address of the first page of a visit."""
        return f"{self.url}/s/{visit.id}/0"

    def run(self) -> None:
        """Answer until ``stop`` is called in another thread, or until Ctrl-C."""
        from waitress.wasyncore import loop

        try:
            with contextlib.suppress(KeyboardInterrupt):
                while self._sockets:
                    loop(_POLL_SECONDS, use_poll=True, map=self._sockets, count=1)
                    self._tasks.do()
        finally:
            self._close()

    def start(self) -> None:
        """Answer in a thread of its own."""
        self._thread = threading.Thread(target=self.run, name="webshop", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close all connections and wait until nothing runs any more; calling it again does nothing."""
        if self._thread is None:
            self._close()
            return
        if self._sockets:
            self._server.trigger.pull_trigger(self._close_sockets)
        self._thread.join(_STOP_SECONDS)

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Stop."""
        self.stop()

    def _close(self) -> None:
        self._close_sockets()
        self.storefront.close()

    def _close_sockets(self) -> None:
        from waitress.wasyncore import close_all

        for channel in list(self._server.active_channels.values()):
            channel.handle_close()  # with what is still to be sent, which may be a file
        close_all(self._sockets)


class _Tasks:
    """What waitress calls a task dispatcher: it is handed the requests that have been read, and answers them in ``do``."""

    def __init__(self) -> None:
        self._waiting: deque[Any] = deque()

    def add_task(self, task: Any) -> None:
        self._waiting.append(task)

    def do(self) -> None:
        while self._waiting:
            self._waiting.popleft().service()


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= MOST_PORT:
        raise ServingError(f"The port is {port}; it must be between 0, for any that is free, and {MOST_PORT}.")
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=1024)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            sentence = f"Port {port} of {host} is in use. Choose another one, or 0 for any that is free."
        elif error.errno == errno.EACCES:
            sentence = f"Port {port} may not be used by this user. Choose one from 1024 on, or 0 for any that is free."
        else:
            reason = str(error.strerror).partition(" (while")[0]
            sentence = f"The shop cannot listen on {host!r}: {reason}. The usual address is 127.0.0.1."
        raise ServingError(sentence) from error


def _in_url(host: str) -> str:
    """Return a name under which this machine finds the server."""
    if host in EVERYWHERE:
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
