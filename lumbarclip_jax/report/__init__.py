"""The page a run leaves behind: one HTML file with its curves, numbers, examples and data."""
