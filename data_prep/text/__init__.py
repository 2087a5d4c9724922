"""Reports: their table, their parts, what must not leave in them, and the vocabulary they make."""
