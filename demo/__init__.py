"""The demonstration: a crowd, a local cloud, and a verdict on every coupon."""
