"""What things cost: the train step beside PyTorch, rung by rung and on TPUs; input; evaluation."""
