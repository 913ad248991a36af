"""Slow I3D as plain functions, written from Figure 3 of "Quo Vadis, Action Recognition?" (CVPR 2017).

Independent of `vmr`: convolutions as sums over kernel taps of shifted inputs, pools as maxima over taps, padding as
TensorFlow's documentation of SAME defines it. float64 NumPy, arrays (channels, time, height, width), one clip.
"""

import math

import numpy as np

INCEPTION = [
    "Mixed_3b", "Mixed_3c", "MaxPool3d_4a_3x3", "Mixed_4b", "Mixed_4c", "Mixed_4d", "Mixed_4e", "Mixed_4f",
    "MaxPool3d_5a_2x2", "Mixed_5b", "Mixed_5c",
]  # fmt: skip
POOLS = {
    "MaxPool3d_2a_3x3": ((1, 3, 3), (1, 2, 2)),
    "MaxPool3d_3a_3x3": ((1, 3, 3), (1, 2, 2)),
    "MaxPool3d_4a_3x3": ((3, 3, 3), (2, 2, 2)),
    "MaxPool3d_5a_2x2": ((2, 2, 2), (2, 2, 2)),
}


def pad_same(x, kernel, stride, value):
    """Out size is ceil(in / stride); the padding that this needs is split in two, the odd element at the end."""
    widths = [(0, 0)]
    for size, k, s in zip(x.shape[1:], kernel, stride, strict=True):
        needed = (k - s) if size % s == 0 else (k - size % s)
        needed = max(needed, 0)
        widths.append((needed // 2, math.ceil(needed / 2)))
    return np.pad(x, widths, constant_values=value)


def taps(x, kernel, stride):
    """For each position in the kernel, the values that it meets at every output position."""
    outputs = [(size - k) // s + 1 for size, k, s in zip(x.shape[1:], kernel, stride, strict=True)]
    for t in range(kernel[0]):
        for h in range(kernel[1]):
            for w in range(kernel[2]):
                yield (
                    (t, h, w),
                    x[
                        :,
                        t : t + (outputs[0] - 1) * stride[0] + 1 : stride[0],
                        h : h + (outputs[1] - 1) * stride[1] + 1 : stride[1],
                        w : w + (outputs[2] - 1) * stride[2] + 1 : stride[2],
                    ],
                )


def convolve(x, weight, stride):
    kernel = weight.shape[2:]
    padded = pad_same(x, kernel, stride, 0.0)
    return sum(
        np.einsum("oi,ithw->othw", weight[:, :, t, h, w], part) for (t, h, w), part in taps(padded, kernel, stride)
    )


def max_pool(x, kernel, stride):
    parts = [part for _, part in taps(pad_same(x, kernel, stride, -np.inf), kernel, stride)]
    return np.max(parts, axis=0)


def unit(x, state, name, stride=1):
    """Convolution without bias, batch norm in test mode with Sonnet's epsilon, rectifier."""
    get = lambda part: state[f"{name}.{part}"].astype(np.float64)  # noqa: E731
    y = convolve(x, get("conv3d.weight"), (stride,) * 3)
    shape = (-1, 1, 1, 1)
    y = (y - get("bn.running_mean").reshape(shape)) / np.sqrt(get("bn.running_var").reshape(shape) + 1e-3)
    return np.maximum(y * get("bn.weight").reshape(shape) + get("bn.bias").reshape(shape), 0.0)


def inception(x, state, name):
    return np.concatenate(
        [
            unit(x, state, f"{name}.b0"),
            unit(unit(x, state, f"{name}.b1a"), state, f"{name}.b1b"),
            unit(unit(x, state, f"{name}.b2a"), state, f"{name}.b2b"),
            unit(max_pool(x, (3, 3, 3), (1, 1, 1)), state, f"{name}.b3b"),
        ]
    )


def layers(video, state):
    """Every layer's output by name, in order.

    Args:
        video: (3, T, H, W) in [-1, 1].
        state: arrays by the key names of the PyTorch port.
    """
    x = video.astype(np.float64)
    x = unit(x, state, "Conv3d_1a_7x7", stride=2)
    yield "Conv3d_1a_7x7", x
    x = max_pool(x, *POOLS["MaxPool3d_2a_3x3"])
    yield "MaxPool3d_2a_3x3", x
    x = unit(x, state, "Conv3d_2b_1x1")
    yield "Conv3d_2b_1x1", x
    x = unit(x, state, "Conv3d_2c_3x3")
    yield "Conv3d_2c_3x3", x
    x = max_pool(x, *POOLS["MaxPool3d_3a_3x3"])
    yield "MaxPool3d_3a_3x3", x
    for name in INCEPTION:
        x = max_pool(x, *POOLS[name]) if name in POOLS else inception(x, state, name)
        yield name, x


def feature(last):
    """Average pool over 2 positions of time and all of space, stride 1, then the mean of its outputs."""
    spatial = last.mean(axis=(2, 3))
    pairs = [(spatial[:, t] + spatial[:, t + 1]) / 2 for t in range(spatial.shape[1] - 1)]
    return np.mean(pairs, axis=0)
