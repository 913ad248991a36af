"""All that is asked of pytorchvideo, which nobody maintains any more: no other module imports it.

Its imports take seconds, as long as those of torch, so each is made where it is needed.
"""

from torch import nn


def resnet50(name: str) -> nn.Module:
    """A backbone of its model hub, ``"i3d_r50"`` or ``"slow_r50"``, with random weights and its keys."""
    from pytorchvideo.models.hub import i3d_r50, slow_r50

    model: nn.Module = {"i3d_r50": i3d_r50, "slow_r50": slow_r50}[name](pretrained=False)
    return model


def last_clip_start(num_frames: int, *, window: int, stride: int) -> int:
    """Frame at which the last clip of its uniform sampler begins; `stride` is at most `window`."""
    from pytorchvideo.data.clip_sampling import UniformClipSampler

    # One frame is one second for the sampler, whose arithmetic is in fractions: no rounding anywhere.
    sampler = UniformClipSampler(clip_duration=window, stride=stride)
    clip = sampler(0, num_frames, {})
    while not clip.is_last_clip:
        clip = sampler(clip.clip_end_sec, num_frames, {})
    return int(clip.clip_start_sec)
