"""Imagery to evidence. No room here imports torch; detection reaches it through `models.load`."""
