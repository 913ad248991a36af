"""The line by which a process logs its use of a card, and how it is read again, without torch."""

import re

CARD_USED = "a card was held for %.1f s, with at most %.0f MiB in use"


def cards_used(text: str) -> list[tuple[float, float]]:
    """For each process, seconds for which it held a card and the most MiB in use, from the lines of a log."""
    found = re.finditer(r"a card was held for (?P<seconds>[\d.]+) s, with at most (?P<memory>[\d.]+) MiB in use", text)
    return [(float(use["seconds"]), float(use["memory"])) for use in found]
