"""Chaos: the local cloud under load and faults, and a checker that decides what it all meant."""
