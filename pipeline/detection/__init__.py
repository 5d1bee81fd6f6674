"""Tiles x detector -> one set of boxes per scene."""
