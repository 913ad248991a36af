"""How few sentences teach nothing at all."""

# Not in the paper. Trained on 18 and on 36 sentences of rendered videos CI-MHA ended below the best constant window (13
# and 9 instead of 33 at R1@0.5), on 251 far above it (62).
LEAST_SENTENCES = 50
