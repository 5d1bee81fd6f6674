"""Procedural scenes under a sensor model, with exact labels."""
