"""From sentences to word vectors: tokens, GloVe, and the query store."""
