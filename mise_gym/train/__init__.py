"""The LLM-PPO trainer: collect -> judge -> advantages -> update, with a policy that judges itself in hindsight."""
