"""The ablation: the same training with several rewards, seeds and environments, and what it shows.

suite (what to run) -> schedule (running it) -> results (what came out) -> claims (what that shows) -> page and pictures
"""
