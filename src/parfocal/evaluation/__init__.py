"""How good is a focus predictor: votes, figures, baselines that need no training, and confidence. Needs no torch."""
