"""End to end: what is deployed is what `chalice package` makes, on an AWS emulator's services."""

import os

# What is imported here belongs to this stage; the deployed functions have their own setting.
os.environ["STAGE"] = "local"
