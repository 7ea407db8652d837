"""Judges: who scores the turns of an episode in hindsight; the names are in ``mise_gym/rewards/catalog.py``."""
