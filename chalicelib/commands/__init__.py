"""Commands: one file each, its script beside it. A command decides in the store, atomically."""
