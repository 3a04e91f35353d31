"""Measurements, as ratios of two sides that take turns within one run."""
