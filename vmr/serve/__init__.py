"""The page: pick or upload a video, type a sentence, play the moments (`vmr serve`)."""
