"""Costs: the train step beside PyTorch, rung by rung, for absent chips; input; evaluation."""
