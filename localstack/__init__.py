"""The local cloud: the same program as in the cloud, on one machine, without Docker."""
