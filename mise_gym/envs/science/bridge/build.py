"""Compile the Java sources of this folder into ``bridge.jar``: ``python -m mise_gym.envs.science.bridge.build`` (needs a JDK)."""

import hashlib
import subprocess
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from mise_gym.envs.science.overlay import simulator_jar

FOLDER: Final = Path(__file__).parent
JAR: Final = FOLDER / "bridge.jar"
ORIGIN: Final = "origin.txt"
"""The entry of the jar that says which sources it was made from, and with which compiler."""
_FLAGS: Final = ("--release", "8", "-Xlint:all,-options,-classfile", "-Werror")
_LONG_AGO: Final = (1980, 1, 1, 0, 0, 0)


def sources() -> list[Path]:
    """Return the Java files."""
    return sorted(FOLDER.glob("*.java"))


def digest_of_sources() -> str:
    """Return the SHA-256 of all sources together."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources())).hexdigest()


def compiler(javac: str = "javac") -> str:
    """Return a compiler's name and main version, such as "javac 17"."""
    done = subprocess.run([javac, "-version"], check=True, capture_output=True, text=True)
    return done.stdout.strip().partition(".")[0]


def origin(jar: Path = JAR) -> tuple[str, str]:
    """Return the digest of the sources and the compiler that a jar was made from."""
    with zipfile.ZipFile(jar) as archive:
        digest, maker = archive.read(ORIGIN).decode().splitlines()
    return digest, maker


def build(jar: Path = JAR, javac: str = "javac") -> None:
    """Compile the sources for Java 8 and newer; compilers of the same main version give the same jar, byte for byte.

    Args:
        jar: Where to write.
        javac: The compiler.

    Raises:
        subprocess.CalledProcessError: They do not compile.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [javac, *_FLAGS, "-cp", str(simulator_jar()), "-d", folder]
        subprocess.run([*command, *map(str, sources())], check=True)
        classes = {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(Path(folder).rglob("*.class"))}
    with zipfile.ZipFile(jar, "w") as archive:
        made_from = f"{digest_of_sources()}\n{compiler(javac)}\n"
        for name, content in {ORIGIN: made_from.encode(), **classes}.items():
            archive.writestr(zipfile.ZipInfo(name, _LONG_AGO), content, zipfile.ZIP_STORED)  # compressors differ between machines


if __name__ == "__main__":
    build()
