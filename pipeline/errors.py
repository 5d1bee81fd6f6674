"""Errors a user can act on.

The tree, from general to particular::

    YardwatchError              anything yardwatch reports on purpose
    ├── ConfigError             a YAML file, a key or a value is wrong: names file, key and remedy
    ├── ImageryError            an image cannot be used: names the file and the remedy
    │   ├── MetadataError       time, GSD, radiometry or CRS is missing or contradictory
    │   └── UnreadableError     truncated, not an image, absurd size
    ├── ModelError              weights are missing, corrupt, or do not fit the image's GSD
    ├── TableError              a CSV of counts is malformed: names file, line and column
    └── StoreError              an output folder cannot be used

Each message says what is wrong, where, and what to do about it. ``assert`` is kept for what cannot happen.
"""


class YardwatchError(Exception):
    """Base of every error that yardwatch raises on purpose.

    Args:
        what: what is wrong, naming the file, key or value.
        fix: what the reader can do about it, one sentence.
    """

    def __init__(self, what: str, fix: str = "") -> None:
        self.what = what
        self.fix = fix
        super().__init__(f"{what}. {fix}" if fix else what)


class ConfigError(YardwatchError):
    """A configuration file, key or value is wrong."""


class ImageryError(YardwatchError):
    """An image cannot be used."""


class MetadataError(ImageryError):
    """Time, GSD, radiometry or CRS of an image is missing or contradictory."""


class UnreadableError(ImageryError):
    """A file is truncated, not an image, or of absurd size."""


class ModelError(YardwatchError):
    """Weights are missing or corrupt, or a model does not fit the image."""


class TableError(YardwatchError):
    """A table of counts is malformed."""


class StoreError(YardwatchError):
    """An output folder cannot be used."""
