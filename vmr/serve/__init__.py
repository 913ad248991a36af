"""A page in the browser: pick a video, type a sentence, play the moments."""
