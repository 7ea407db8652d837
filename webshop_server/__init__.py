"""The shop behind ``mise/WebShop-v0``: a package of its own that knows nothing of ``mise_gym``."""
