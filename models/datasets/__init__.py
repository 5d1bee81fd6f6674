"""Public label formats in, training chips out."""
