"""From stored features and queries to padded batches with masks, and the arithmetic of temporal spans."""
