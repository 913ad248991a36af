"""The eight kinds of events that the rendered demo shows, each as a filter graph of ffmpeg with words about it.

No fonts, images or files are read: every picture comes from a source filter of ffmpeg (5.1 or newer).
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

# Names that are words of GloVe, so that sentences can say what is seen. One of each makes a pair that contrasts.
DARK = {"red": "b41e1e", "green": "1e782d", "blue": "2846c8", "purple": "6e2391", "brown": "643c14"}
LIGHT = {"yellow": "e6d228", "orange": "f5a03c", "pink": "f5a0c3", "white": "f0f0f0", "gray": "bebebe"}
COLOURS = DARK | LIGHT


@dataclass(frozen=True)
class Canvas:
    """Size and rate of the pictures of one video."""

    width: int  # pixels, even
    height: int  # pixels, even
    rate: str  # frames a second as ffmpeg reads it, such as ``"30000/1001"``

    @property
    def fps(self) -> float:
        """Frames a second."""
        return float(Fraction(self.rate))

    @property
    def size(self) -> str:
        """Width and height as ffmpeg reads them."""
        return f"{self.width}x{self.height}"


@dataclass(frozen=True)
class Picture:
    """What one event looks like."""

    graph: str  # filter graph without inputs, unbounded in time, at the rate of the canvas
    fast: bool | None  # how it moves; None where nothing moves
    colours: tuple[str, ...] = ()  # names of the colours that are seen best, possibly none


def _contrasting(rng: random.Random) -> list[str]:
    pair = [rng.choice(sorted(DARK)), rng.choice(sorted(LIGHT))]
    rng.shuffle(pair)
    return pair


def fractal(rng: random.Random, canvas: Canvas) -> Picture:
    """The edge of the Mandelbrot set while the camera moves in."""
    centre_x, centre_y = rng.choice(
        [(-0.743643, 0.131825), (-0.101528, 0.956294), (-1.250660, 0.020120), (0.001643, -0.822467), (0.28693, 0.01421)]
    )
    fast = rng.random() < 0.5
    factor_a_second = rng.uniform(2.2, 3.0) if fast else rng.uniform(1.3, 1.6)
    start = rng.uniform(0.3, 1.2)
    # The filter counts in frames; 20 seconds are longer than any event.
    frames = 20 * canvas.fps
    graph = (
        f"mandelbrot=size={canvas.size}:rate={canvas.rate}:start_x={centre_x}:start_y={centre_y}:maxiter=300:"
        f"start_scale={start:.4f}:end_scale={start / factor_a_second**20:.12f}:end_pts={frames:.3f}:inner=black,"
        f"hue=h={rng.randrange(360)}"
    )
    return Picture(graph, fast)


def automaton(rng: random.Random, canvas: Canvas) -> Picture:
    """Conway's game of life with fading cells."""
    cell = rng.choice([4, 5, 6])
    fast = rng.random() < 0.5
    life, death = _contrasting(rng)
    graph = (
        f"life=size={canvas.width // cell}x{canvas.height // cell}:rate={canvas.rate if fast else 8}:"
        f"mold={rng.choice([10, 20, 40])}:random_fill_ratio={rng.uniform(0.25, 0.4):.3f}:"
        f"random_seed={rng.randrange(2**31)}:life_color=#{COLOURS[life]}:death_color=#{COLOURS[death]}:"
        f"mold_color=black,scale={canvas.width}:{canvas.height}:flags=neighbor"
    )
    return Picture(graph, fast, (life,))


def color_bars(rng: random.Random, canvas: Canvas) -> Picture:
    """The colour bars of a television station."""
    source = rng.choice(["smptebars", "smptehdbars", "pal75bars", "pal100bars"])
    mirrored = rng.choice(["", ",hflip"])
    graph = (
        f"{source}=size={canvas.size}:rate={canvas.rate}{mirrored},"
        f"hue=h={rng.uniform(-15, 15):.1f}:s={rng.uniform(0.7, 1.1):.2f}"
    )
    return Picture(graph, None)


def counter(rng: random.Random, canvas: Canvas) -> Picture:
    """Large digits that count up on a plain ground."""
    fast = rng.random() < 0.5
    ground, ink = _contrasting(rng)
    levels = ":".join(
        f"{channel}='{low}+({high}-{low})*val/255'"
        for channel, low, high in zip("rgb", bytes.fromhex(COLOURS[ground]), bytes.fromhex(COLOURS[ink]), strict=True)
    )
    # Three digits of `testsrc` at 320x240 fill 92x52 pixels at (192, 94), white on black. Starting after 1 s when
    # hundredths are shown, or after 10 s with tenths, there are always three.
    start = rng.uniform(1, 4) if fast else rng.uniform(10, 14)
    width = 2 * round(canvas.width * rng.uniform(0.6, 0.9) / 2)
    height = 2 * min(round(width * 52 / 92 / 2), canvas.height // 2)
    left = rng.randint(0, canvas.width - width)
    top = rng.randint(0, canvas.height - height)
    graph = (
        f"testsrc=size=320x240:rate={canvas.rate}:decimals={2 if fast else 1},trim=start={start:.3f},"
        f"crop=92:52:192:94,format=gbrp,scale={width}:{height}:flags=neighbor,"
        f"pad={canvas.width}:{canvas.height}:{left}:{top}:black,lutrgb={levels}"
    )
    return Picture(graph, fast, (ink,))


def gradient(rng: random.Random, canvas: Canvas) -> Picture:
    """Soft colours that blend and turn."""
    fast = rng.random() < 0.5
    names = rng.sample(sorted(set(COLOURS) - {"gray", "brown"}), 3)
    colours = ":".join(f"c{index}=#{COLOURS[name]}" for index, name in enumerate(names))
    # The filter turns by `speed` radians a frame.
    speed = (rng.uniform(1.2, 1.8) if fast else rng.uniform(0.5, 0.8)) / canvas.fps
    graph = (
        f"gradients=size={canvas.size}:rate={canvas.rate}:nb_colors=3:{colours}:seed={rng.randrange(2**31)}:"
        f"speed={speed:.5f}:type={rng.choice(['linear', 'circular'])}"
    )
    return Picture(graph, fast, tuple(names[:2]))


def tiles(rng: random.Random, canvas: Canvas) -> Picture:
    """A board of squares in two colours that slides."""
    fast = rng.random() < 0.5
    side = rng.choice([24, 32, 40])
    first, second = _contrasting(rng)
    sides = [bytes.fromhex(COLOURS[name]) for name in (first, second)]
    channels = ":".join(
        f"{channel}='if(mod(floor(X/{side})+floor(Y/{side}),2),{one},{other})'"
        for channel, one, other in zip("rgb", *sides, strict=True)
    )
    shift = (rng.uniform(0.5, 0.8) if fast else rng.uniform(0.15, 0.25)) / canvas.fps
    across, down = rng.choice([(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1)])
    # One picture, twice the size in whole squares so that no seam is seen, is drawn, then repeated and moved.
    width, height = (2 * side * -(-pixels // (2 * side)) for pixels in (canvas.width, canvas.height))
    graph = (
        f"color=size={width}x{height}:rate={canvas.rate}:duration={1 / canvas.fps:.6f},format=gbrp,geq={channels},"
        f"loop=loop=-1:size=1,setpts=N/({canvas.rate})/TB,scroll=horizontal={across * shift:.6f}:"
        f"vertical={down * shift:.6f},crop={canvas.width}:{canvas.height}:0:0"
    )
    return Picture(graph, fast, (first, second))


def noise(rng: random.Random, canvas: Canvas) -> Picture:
    """The snow of a television without a signal."""
    grain = rng.choice([1, 2, 3])
    colourless = rng.random() < 0.6
    grain_size = f"{2 * (canvas.width // grain // 2)}x{2 * (canvas.height // grain // 2)}"
    graph = (
        f"color=gray:size={grain_size}:rate={canvas.rate},format={'gray' if colourless else 'yuv444p'},"
        f"noise=all_strength={rng.randint(70, 100)}:all_flags=t+u:all_seed={rng.randrange(2**31)},"
        f"scale={canvas.width}:{canvas.height}:flags=neighbor"
    )
    return Picture(graph, None)


def ball(rng: random.Random, canvas: Canvas) -> Picture:
    """A single square that bounces off the edges of a plain ground."""
    fast = rng.random() < 0.5
    ground, ink = _contrasting(rng)
    side = 2 * rng.randint(20, 32)
    room_x, room_y = canvas.width - side, canvas.height - side
    speed = rng.uniform(200, 280) if fast else rng.uniform(80, 120)
    slope = rng.uniform(0.5, 1.2)
    x = f"abs(mod(t*{speed:.1f}+{rng.randrange(2 * room_x)},{2 * room_x})-{room_x})"
    y = f"abs(mod(t*{speed * slope:.1f}+{rng.randrange(2 * room_y)},{2 * room_y})-{room_y})"
    plain = f"rate={canvas.rate}:size"
    graph = (
        f"color=#{COLOURS[ground]}:{plain}={canvas.size}[ground];color=#{COLOURS[ink]}:{plain}={side}x{side}[ball];"
        f"[ground][ball]overlay=x='{x}':y='{y}':format=rgb"
    )
    return Picture(graph, fast, (ink,))


KINDS: dict[str, Callable[[random.Random, Canvas], Picture]] = {
    "fractal": fractal,
    "automaton": automaton,
    "test_card": color_bars,
    "counter": counter,
    "gradient": gradient,
    "tiles": tiles,
    "noise": noise,
    "ball": ball,
}
