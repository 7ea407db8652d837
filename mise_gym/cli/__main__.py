"""``python -m mise_gym.cli`` is ``mise-gym``."""

import sys

from mise_gym.cli import main

sys.exit(main())
