"""What a model is worth: scores, leakage, bias, comparison."""
