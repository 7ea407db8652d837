"""mise-gym: Gymnasium text worlds with calibrated hindsight rewards.

Importing this package registers the ``mise/*`` environment ids; it loads no simulator and no torch.
"""

from typing import Final

from mise_gym.envs.catalog import register_envs

__version__: Final = "0.1.0"

__all__ = ["__version__", "register_envs"]

register_envs()
