"""One HTML page about a training run or a file of recorded episodes: gathered, drawn, and put into a template."""

from mise_gym.report.page import write_report

__all__ = ["write_report"]
