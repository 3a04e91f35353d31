"""Measurements, as ratios of two sides that take turns within one run."""

import os

# Tables and routes are named by the stage when they are imported, before a local cloud runs.
os.environ["STAGE"] = "local"
