"""An interpreter that sees only the core: gymnasium, numpy and what these need."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

CORE: Final = ("mise_gym", "webshop_server", "gymnasium", "numpy", "cloudpickle", "farama_notifications", "typing_extensions")


def run_with_the_core_only(folder: Path, program: str) -> subprocess.CompletedProcess[str]:
    """Run ``program`` in a fresh interpreter without site-packages; the core is linked into ``folder``."""
    for name in CORE:
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        origin = Path(spec.origin)
        source = origin.parent if origin.name == "__init__.py" else origin
        (folder / source.name).symlink_to(source)
        if (libraries := source.with_name(f"{name}.libs")).exists():
            (folder / libraries.name).symlink_to(libraries)
    return subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {str(folder)!r})\n{program}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
