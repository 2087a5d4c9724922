"""Many runs of several configs: planned, trained one process each, and put into one table."""
