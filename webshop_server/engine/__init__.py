"""The shop without a web: catalogue, search, goals, sessions, pages as text, and the purchase score.

No web framework, no clock and no global random state in here. Files are touched by the catalogue and the index only.
"""
