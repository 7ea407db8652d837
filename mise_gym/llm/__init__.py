"""Language models, for judges and for the trainer: local ones, and those behind OpenAI-compatible endpoints."""
