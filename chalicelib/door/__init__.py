"""The front door: who is asking, what they may send, and how that is described to programs."""
