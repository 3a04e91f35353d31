"""Projections: one file per table, event in, row out. Repeats and any order give the same rows."""
