"""Calibrators: from a judge's scores to rewards; the names are in ``mise_gym/rewards/catalog.py``."""
