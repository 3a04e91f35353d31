"""End to end: what is deployed is what `chalice package` makes, on an AWS emulator's services."""
