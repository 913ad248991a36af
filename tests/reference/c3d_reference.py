"""Slow C3D as plain functions, written from Figure 3 of "Learning Spatiotemporal Features with 3D Convolutional
Networks" (ICCV 2015): all kernels 3x3x3 with padding 1, pools 2x2x2 except the first (1x2x2), fc6 of 4096.

Independent of `vmr`; float64 NumPy, arrays (channels, time, height, width), one clip.
"""

import numpy as np

ORDER = [
    "conv1", "pool1", "conv2", "pool2", "conv3a", "conv3b", "pool3", "conv4a", "conv4b", "pool4", "conv5a", "conv5b",
    "pool5",
]  # fmt: skip


def convolve(x, weight, bias):
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (1, 1)])
    _, frames, height, width = x.shape
    y = np.zeros((weight.shape[0], frames, height, width)) + bias.reshape(-1, 1, 1, 1)
    for t in range(3):
        for h in range(3):
            for w in range(3):
                part = padded[:, t : t + frames, h : h + height, w : w + width]
                y += np.einsum("oi,ithw->othw", weight[:, :, t, h, w], part)
    return np.maximum(y, 0.0)


def pool(x, name):
    """Maxima of blocks. Caffe rounds 7 / 2 up at pool 5; the ports pad one element at both sides for the same size."""
    depth = 1 if name == "pool1" else 2
    if name == "pool5":
        x = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)], constant_values=-np.inf)
    channels, frames, height, width = x.shape
    frames, height, width = frames // depth * depth, height // 2 * 2, width // 2 * 2
    blocks = x[:, :frames, :height, :width].reshape(channels, frames // depth, depth, height // 2, 2, width // 2, 2)
    return blocks.max(axis=(2, 4, 6))


def layers(clip, state):
    """Every layer's output by name, then ``fc6`` when its size fits."""
    x = clip.astype(np.float64)
    for name in ORDER:
        x = pool(x, name) if name.startswith("pool") else convolve(x, state[f"{name}.weight"], state[f"{name}.bias"])
        yield name, x
    if x.size == state["fc6.weight"].shape[1]:
        yield "fc6", np.maximum(state["fc6.weight"] @ x.reshape(-1) + state["fc6.bias"], 0.0)
