"""Language models, for judges and for the trainer: those behind OpenAI-compatible endpoints."""
