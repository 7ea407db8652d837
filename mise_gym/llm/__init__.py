"""Local language models, for the judge and for the trainer: loading, padding, and reading many questions in one pass."""
