"""Costs: the train step beside PyTorch, rung by rung, for absent chips; input; evaluation;
what is written for XLA's CPU compiler beside the plain forms.
"""
