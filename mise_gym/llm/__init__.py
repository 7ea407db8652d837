"""Talking to language models behind OpenAI-compatible endpoints: retries, limits, budget and cache; knows nothing of rewards."""
