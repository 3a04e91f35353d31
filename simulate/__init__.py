"""Random histories of one sale: commands, time, messages and faults in any order, and a judge."""
