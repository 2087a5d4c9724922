"""Attention in the forms that XLA, cuDNN and a kernel of ours have, and the choice among them."""
