"""One file per environment that one can train on; ``mise_gym.train.tasks`` has the table."""
