"""What a recipe takes, before anything starts: memory by part, tokens, time. Estimates by stated formulas, no torch."""
