"""``python -m mise_gym`` is ``mise-gym``; launchers of several processes start modules."""

import sys

from mise_gym.cli import main

if __name__ == "__main__":
    sys.exit(main())
