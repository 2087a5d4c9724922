"""Runs as data: one file each, overriding `base.get_config()` in a few lines."""
