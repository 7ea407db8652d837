"""The errors that the shop raises on purpose; each message is one sentence that a user can act on."""


class ShopError(Exception):
    """Base of every error raised on purpose by the shop."""


class CatalogueError(ShopError):
    """A folder or file is not a catalogue, is of another version, half built, or cannot be written."""


class GoalError(ShopError):
    """There is no such goal, or a goal given in full lacks something."""


class TooManyTermsError(ShopError):
    """A query has more distinct terms than the index accepts."""


class VisitError(ShopError):
    """There is no such visit or page of it, or it has become too long."""


class ServingError(ShopError):
    """The shop cannot be served: a setting or the address is no good, or a package that it needs is missing."""
