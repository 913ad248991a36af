"""CI-MHA: encoders, attention, fusion, heads, losses and decoding, in plain torch."""
