"""The simulator's jar, and an overlay for one of its classes that makes episodes repeatable.

Objects of the simulator lie in hash sets, and their hash is an address in memory: another run, another order, another text. The
overlay is the user's own class with one method more, ``hashCode``, which returns the number that the simulator gives each object.
"""

import hashlib
import logging
import os
import struct
import tempfile
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from mise_gym.extras import require

logger = logging.getLogger(__name__)

_CLASS: Final = "scienceworld/struct/EnvObject.class"
_WIDTHS: Final = {3: 4, 4: 4, 5: 8, 6: 8, 7: 2, 8: 2, 9: 4, 10: 4, 11: 4, 12: 4, 15: 3, 16: 2, 17: 4, 18: 4, 19: 2, 20: 2}
"""Tag of a constant in a class file -> its length in bytes; 1 (text) says its own length. JVM specification, section 4.4."""
_TWO_SLOTS: Final = (5, 6)
_PUBLIC: Final = 0x0001
_CODE: Final = b"\x2a\xb6%b\x88\xac"
"""aload_0, invokevirtual <uuid>, l2i, ireturn."""


def simulator_jar() -> Path:
    """Return the jar in the installed scienceworld package.

    Raises:
        MissingExtraError: The package is not installed.
    """
    return Path(str(require("scienceworld").__file__)).with_name("scienceworld.jar")


@cache
def simulator_digest() -> str:
    """Return 16 characters that tell this simulator's jar from any other."""
    return hashlib.sha256(simulator_jar().read_bytes()).hexdigest()[:16]


def cache_folder() -> Path:
    """Return the folder for what is derived from this simulator: ``$XDG_CACHE_HOME/mise_gym/scienceworld/<digest>``."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "mise_gym" / "scienceworld" / simulator_digest()


def overlay_jar() -> Path | None:
    """Return a jar to put before the simulator's on the class path, made on first use.

    Returns:
        ``None`` if it cannot be made: the class has another form than expected, or the cache cannot be written.
    """
    path = cache_folder() / "overlay.jar"
    if path.exists():
        return path
    try:
        with zipfile.ZipFile(simulator_jar()) as archive:
            patched = with_hash_code(archive.read(_CLASS))
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file, zipfile.ZipFile(file, "w") as archive:
            archive.writestr(_CLASS, patched)
        os.replace(file.name, path)
    except (OSError, KeyError, ValueError, struct.error, IndexError) as error:
        logger.warning("No overlay for the simulator, which will run slower: %s.", error)
        return None
    return path


def with_hash_code(content: bytes) -> bytes:
    """Return a class file with ``public int hashCode() { return (int) uuid(); }`` added, or as it is if it has one.

    Raises:
        ValueError: This is not a class file of the known form.
    """
    if content[:4] != b"\xca\xfe\xba\xbe":
        raise ValueError("it does not begin like a class file")
    count, pool_end, texts = _constant_pool(content)
    this_class = struct.unpack_from(">H", content, pool_end + 2)[0]
    methods_at, methods = _methods(content, pool_end)
    if any((texts.get(name), texts.get(kind)) == (b"hashCode", b"()I") for name, kind in methods):
        return content
    pool = b"".join(b"\x01" + struct.pack(">H", len(text)) + text for text in (b"hashCode", b"()I", b"Code", b"uuid", b"()J"))
    pool += struct.pack(">BHH", 12, count + 3, count + 4) + struct.pack(">BHH", 10, this_class, count + 5)
    code = _CODE.replace(b"%b", struct.pack(">H", count + 6))
    attribute = struct.pack(">HHI", 2, 1, len(code)) + code + struct.pack(">HH", 0, 0)
    method = struct.pack(">HHHHHI", _PUBLIC, count, count + 1, 1, count + 2, len(attribute)) + attribute
    head = content[:8] + struct.pack(">H", count + 7) + content[10:pool_end] + pool
    return head + content[pool_end:methods_at] + struct.pack(">H", len(methods) + 1) + method + content[methods_at + 2 :]


def _constant_pool(content: bytes) -> tuple[int, int, dict[int, bytes]]:
    """Return the number of constants plus one, where they end, and the texts among them by number."""
    count = struct.unpack_from(">H", content, 8)[0]
    position, index, texts = 10, 1, {}
    while index < count:
        tag = content[position]
        if tag == 1:
            length = struct.unpack_from(">H", content, position + 1)[0]
            texts[index] = content[position + 3 : position + 3 + length]
            position += 3 + length
        elif tag in _WIDTHS:
            position += 1 + _WIDTHS[tag]
        else:
            raise ValueError(f"it has a constant with the unknown tag {tag}")
        index += 2 if tag in _TWO_SLOTS else 1
    return count, position, texts


def _methods(content: bytes, pool_end: int) -> tuple[int, list[tuple[int, int]]]:
    """Return where the table of methods begins, and the numbers of each method's name and type."""
    interfaces = struct.unpack_from(">H", content, pool_end + 6)[0]
    fields_at = pool_end + 8 + 2 * interfaces
    *_, methods_at = [fields_at + 2, *(end for _, _, end in _members(content, fields_at))]
    return methods_at, [(name, kind) for name, kind, _ in _members(content, methods_at)]


def _members(content: bytes, start: int) -> Iterator[tuple[int, int, int]]:
    """Yield of each field or method: the numbers of its name and type, and where it ends."""
    position = start + 2
    for _ in range(struct.unpack_from(">H", content, start)[0]):
        _, name, kind, attributes = struct.unpack_from(">HHHH", content, position)
        position += 8
        for _ in range(attributes):
            position += 6 + struct.unpack_from(">I", content, position + 2)[0]
        yield name, kind, position
