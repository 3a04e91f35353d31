"""A flash sale: commands decide in the store, projections fold events, queries read tables."""
