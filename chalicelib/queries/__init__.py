"""Queries: one file per question. They read the tables that projections write, nothing else."""
