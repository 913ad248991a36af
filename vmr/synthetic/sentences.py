"""Sentences about the events of the rendered demo: a small grammar for each kind, with words that GloVe knows."""

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """The wordings of one kind; those in the `unseen` fields appear in the test split only."""

    # noun phrases in the singular, without an article; ``{colour}`` stands for one or two colours
    subjects: tuple[str, ...]
    verbs: tuple[tuple[str, str], ...]  # (third person singular, -ing form) pairs
    unseen_subjects: tuple[str, ...]
    unseen_verbs: tuple[tuple[str, str], ...]


WORDS = {
    "fractal": Words(
        ("fractal", "colorful fractal", "mandelbrot fractal", "strange mathematical shape", "endless fractal pattern"),
        (("zooms in", "zooming in"), ("gets closer", "getting closer"), ("opens up in detail", "opening up in detail")),
        ("psychedelic fractal", "fractal landscape"),
        (("grows toward the camera", "growing toward the camera"), ("expands", "expanding")),
    ),
    "automaton": Words(
        ("colony of {colour} cells", "game of life", "cellular automaton", "crowd of {colour} cells"),
        (
            ("evolves", "evolving"),
            ("lives and dies", "living and dying"),
            ("breeds and decays", "breeding and decaying"),
        ),
        ("swarm of {colour} cells", "population of tiny cells"),
        (("multiplies and dies", "multiplying and dying"), ("mutates", "mutating")),
    ),
    "test_card": Words(
        ("test card", "television test pattern", "set of color bars", "row of vertical color bars"),
        (
            ("stands still", "standing still"),
            ("is shown", "being shown"),
            ("stays on the screen", "staying on the screen"),
        ),
        ("television calibration card", "chart with color bars"),
        (("does not move", "remaining still"), ("is displayed", "being displayed")),
    ),
    "counter": Words(
        ("counter", "{colour} number", "digital timer", "{colour} counter with large digits"),
        (("counts up", "counting up"), ("is running", "running"), ("goes up", "going up")),
        ("row of {colour} digits", "stopwatch"),
        (("keeps counting", "counting the time"), ("increases", "increasing")),
    ),
    "gradient": Words(
        ("smooth gradient", "{colour} gradient", "soft blend of {colour}", "gradient of {colour}"),
        (("flows", "flowing"), ("turns around", "turning around"), ("blends and shifts", "blending and shifting")),
        ("soft {colour} glow", "smooth mixture of {colour}"),
        (("rotates", "rotating"), ("drifts", "drifting")),
    ),
    "tiles": Words(
        ("checkerboard", "{colour} checkerboard", "board of {colour} squares", "grid of {colour} tiles"),
        (("slides past", "sliding past"), ("scrolls by", "scrolling by"), ("moves along", "moving along")),
        ("{colour} chessboard", "floor of {colour} tiles"),
        (("passes by", "passing by"), ("glides along", "gliding along")),
    ),
    "noise": Words(
        ("static noise", "television without a signal", "screen full of static", "grainy noise"),
        (("flickers", "flickering"), ("hisses", "hissing"), ("is seen without any picture", "covering the picture")),
        ("broken channel full of static", "snow of a television without signal"),
        (("crackles", "crackling"), ("fills the screen", "filling the screen")),
    ),
    "ball": Words(
        ("{colour} block", "small {colour} box", "{colour} square", "single {colour} block"),
        (("bounces around", "bouncing around"), ("bounces off the edges", "bouncing off the edges")),
        ("lone {colour} box", "little {colour} cube"),
        (("jumps from wall to wall", "jumping from wall to wall"), ("ricochets", "ricocheting")),
    ),
}

_SHAPES = (
    "{a} {verb}.",
    "{a} {verb} {how}.",
    "{place} {a} {verb}.",
    "{a} is {verbing} {how}.",
    "there is {a} {verbing}.",
    "we see {a} {verbing} {how}.",
    "the video shows {a} {verbing}.",
)
_UNSEEN_SHAPES = (
    "the camera films {a} {verbing} {how}.",
    "{a} appears and {verb}.",
    "the viewer watches {a} {verbing}.",
)
_PLACES = ("on the screen", "in this part", "for some time", "in the picture")
_FAST = ("quickly", "rapidly", "at high speed", "very fast")
_SLOW = ("slowly", "gently", "at a slow pace", "calmly")
_STILL = ("for a while", "for some time", "for a few seconds", "on the screen")
_WITHOUT_ARTICLE = {"static noise", "grainy noise"}
_DEFINITE = {"game of life"}


def sentences(
    rng: random.Random, kind: str, *, count: int, fast: bool | None, colours: tuple[str, ...], unseen: bool
) -> list[str]:
    """Different sentences about one event, all true of it, in lower case, each ending in a full stop.

    Args:
        fast: whether the event moves fast (True), slowly (False) or neither (None).
        unseen: also use the wordings that training sentences never have.
    """
    words = WORDS[kind]
    subjects = words.subjects + (words.unseen_subjects if unseen else ())
    verbs = words.verbs + (words.unseen_verbs if unseen else ())
    shapes = _SHAPES + (_UNSEEN_SHAPES if unseen else ())
    made: list[str] = []
    while len(made) < count:
        subject = rng.choice(subjects)
        finite, progressive = rng.choice(verbs)
        noun = subject.replace("{colour}", " and ".join(colours))
        sentence = rng.choice(shapes).format(
            a=_with_article(noun, rng),
            verb=finite,
            verbing=progressive,
            how=rng.choice(_STILL if fast is None else _FAST if fast else _SLOW),
            place=rng.choice(_PLACES),
        )
        if sentence not in made:
            made.append(sentence)
    return made


def _with_article(noun: str, rng: random.Random) -> str:
    if noun in _WITHOUT_ARTICLE:
        return noun
    if noun in _DEFINITE or rng.random() < 0.25:
        return f"the {noun}"
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
