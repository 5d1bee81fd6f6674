"""Estimates per zone, baselines, spikes, vessel calls."""
