"""Files from outside: weights, word vectors and annotations, declared in `registry` and made ready by `prepare`."""
