"""Names under which browsers may ask for the shop.

Whoever owns a name can let it stand for 127.0.0.1, and a browser then takes the shop for that owner's site ("DNS rebinding").
The browser still says which name it asked for, so a name that is not the shop's gives such a site away.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
EVERYWHERE: Final = ("0.0.0.0", "::", "")
"""Addresses to listen on that stand for all addresses of a machine."""
_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?")
_HEADER: Final = re.compile(r"(?:\[([^]]*)\]|([^:]*))(?::[0-9]*)?")


class HostNames:
    """The names of a shop, besides those that always mean this machine.

    Args:
        names: Names and addresses; one of ``EVERYWHERE`` stands for every address, but for no name.

    Example:
        >>> names = HostNames(["shop.example"])
        >>> [names.include(header) for header in ("shop.example:3000", "LOCALHOST", "[::1]:3000", "evil.example", "")]
        [True, True, True, False, False]
    """

    def __init__(self, names: Iterable[str]) -> None:
        given = {name.lower() for name in (*LOOPBACK, *names)}
        self._names = given.difference(EVERYWHERE)
        self._has_every_address = not given.isdisjoint(EVERYWHERE)

    def include(self, header: str) -> bool:
        """Return whether a request with this ``Host`` header is meant for the shop."""
        name = host_in(header)
        return name in self._names or (self._has_every_address and _is_address(name))


def host_in(header: str) -> str:
    """Return the name or address in a ``Host`` header, in lower case; empty if there is none."""
    match = _HEADER.fullmatch(header)
    return (match[1] or match[2] or "").lower().removesuffix(".") if match else ""


def is_host_name(text: str) -> bool:
    """Return whether ``text`` is a name or an address, and nothing else; one of ``EVERYWHERE`` is an address."""
    return text in EVERYWHERE or _NAME.fullmatch(text) is not None or _is_address(text)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
