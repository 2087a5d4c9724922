"""Supervised training of an image encoder on labels, and the baselines it has to beat."""
