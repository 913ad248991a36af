"""Layers, losses, spans and predictions that the networks of `vmr.methods` share.

Names mean the same in all of them, and where they do, functions do not tell them again:

- `step_counts` and `word_counts` are lengths of the video and the sentence of each query, at least 1. What stands after
  the last item is padding and means nothing.
- Masks are True at real items (`step_mask`, `word_mask`), at words without a vector (`unknown_mask`), or at spans that
  count (`valid_mask`).
- `video` says which of the different videos each query is about; None: one of each.
- `words` are frozen word vectors; what they hold at unknown words does not matter.
- `share` is start and end as shares of the video's steps, `labels` the first and last step of each moment.
- `start_sec` and `end_sec` are the seconds of every step, ascending, and 0 after the last.
- `dim` is the length of what comes in, `hidden` the width inside and of results, `heads` those of an attention, and
  `dropout` the probability of dropping a number.
"""
