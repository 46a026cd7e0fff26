"""Training: one run, cross-validation, fine-tuning, search, ensembles."""
