"""The prompts of judges, one text file per version; a judge takes another file as its ``prompt``."""
