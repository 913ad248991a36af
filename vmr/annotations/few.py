"""How few sentences teach nothing at all."""

# Not in the paper. Trained on 18, 36 and 71 sentences of rendered videos CI-MHA ended below the best constant window
# (13, 9 and 6 instead of 33 at R1@0.5), on 143 far above it (57).
LEAST_SENTENCES = 100
