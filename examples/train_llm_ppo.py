"""Train a language model on cooking games by PPO on its own calibrated hindsight evaluation. The same as ``mise-gym train``.

With its defaults it needs two CPU cores, no GPU and no download: it makes the games, builds a tiny model, warm-starts it, trains
it and shows what changed on held-out games. See ``--help`` for the settings, and ``runs/demo`` for what came out.
"""

import sys

from mise_gym.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
