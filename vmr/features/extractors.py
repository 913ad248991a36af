"""The interface behind which every network gives features: frames in, one vector a step out.

Shape legend: B batch, T frames, H height, W width, D feature dimension.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from vmr.errors import FeatureError
from vmr.features import backbones, c3d, i3d, weights
from vmr.features.clips import Frames, WindowPlan, padded_sequence, plan_windows, resize_and_crop, slabs, windows_of
from vmr.features.shared_windows import SharedWindows, can_share
from vmr.features.streaming import StreamingFeatures
from vmr.files import sha256_file

log = logging.getLogger(__name__)

EXTRACTORS = ("i3d", "c3d", "i3d_r50", "slow_r50")
MODES = ("windows", "continuous")
_CPU_BATCH = 4
# Device memory for a window of 64 x 224 x 224 in flight in float32: an estimate from I3D's first layers (outputs of
# 103, 26 and 77 MB, with their inputs, padded copies and the convolution's workspace). Too small a guess is mended by
# halving the batch. C3D and the backbones take less.
_BYTES_PER_WINDOW = 600 * 2**20


@dataclass(frozen=True)
class Network:
    """A network with what belongs in front of it.

    Attributes:
        module: clips of floats (B, 3, T, H, W) -> features (B, D).
        normalise: clips of bytes (B, 3, T, H, W) RGB -> floats.
        dim: length of the feature vector.
        short_side: shorter edge of the resized frames, or None.
        size: height and width of the resized frames, or None.
        crop: edge of the central crop.
        description: what a reader of the features should know, for the provenance.
    """

    module: nn.Module
    normalise: nn.Module
    dim: int
    short_side: int | None
    size: tuple[int, int] | None
    crop: int
    description: dict[str, Any]


@runtime_checkable
class Encoder(Protocol):
    """What turns the pieces of one video's padded sequence into features."""

    def push(self, slab: UInt8[Tensor, "T H W 3"], *, last: bool) -> Float[Tensor, "n D"]:
        """Take the next piece, on the device; give the steps that are complete now."""


class I3dClips(nn.Module):
    """Bytes to [-1, 1]."""

    def forward(self, clips: UInt8[Tensor, "B 3 T H W"]) -> Float[Tensor, "B 3 T H W"]:
        """Normalise; exact up to one rounding in any float type, since n - 127.5 needs 8 bits."""
        dtype = torch.get_autocast_dtype(clips.device.type) if torch.is_autocast_enabled(clips.device.type) else None
        return clips.to(dtype or torch.float32).sub_(127.5).div_(127.5)


class Extractor:
    """A network, how windows are laid over a video, and where and in which precision it runs.

    Args:
        network: the network with its preparation.
        name: its name in the provenance.
        window: frames of a window.
        stride: frames between two steps.
        mode: ``"windows"``: each window through the network by itself; ``"continuous"``: one pass, I3D only.
        padding: see `vmr.features.clips.plan_windows`.
        device: where it runs.
        dtype: precision of the convolutions.
        batch_size: windows at once; None for a number that fits the memory.
    """

    def __init__(
        self,
        network: Network,
        *,
        name: str,
        window: int,
        stride: int,
        mode: str = "windows",
        padding: str = "edge",
        device: torch.device,
        dtype: torch.dtype,
        batch_size: int | None = None,
    ) -> None:
        if mode not in MODES:
            raise FeatureError(f"mode is one of {', '.join(MODES)}, found {mode!r}")
        if mode == "continuous" and not isinstance(network.module, i3d.InceptionI3d):
            raise FeatureError(f"{name}: only i3d has the mode `continuous`; use `windows`")
        if mode == "continuous" and (window % i3d.TEMPORAL_STRIDE or stride % i3d.TEMPORAL_STRIDE):
            raise FeatureError(
                f"{name}: mode `continuous` needs window and stride in multiples of 8 frames, "
                f"found {window} and {stride}; use those or the mode `windows`"
            )
        plan_windows(1, window=window, stride=stride, padding=padding)  # refuses what cannot be meant before any work
        if name == "i3d" and window <= i3d.TEMPORAL_STRIDE:
            raise FeatureError(f"i3d: a window needs at least 9 frames, found {window}")
        if name == "c3d" and window != c3d.WINDOW:
            raise FeatureError(f"c3d: its last layer is fully connected, so a window has 16 frames, found {window}")
        self.name, self.window, self.stride, self.mode, self.padding = name, window, stride, mode, padding
        self.device, self.dtype, self.dim = device, dtype, network.dim
        self._network = network
        self.batch_size = batch_size or _batch_for(device, dtype)
        self._module: nn.Module = network.module.eval().to(device).to(memory_format=torch.channels_last_3d)
        for layer in self._module.modules():
            if isinstance(layer, nn.Conv3d | nn.Linear):  # once, and not in each call of autocast
                layer.to(dtype)
        self._normalise = network.normalise.to(device)

    def plan(self, num_frames: int) -> WindowPlan:
        """The windows of a video of that many frames."""
        return plan_windows(num_frames, window=self.window, stride=self.stride, padding=self.padding)

    def pieces(self, frames: Iterable[Frames], plan: WindowPlan) -> Iterator[Frames]:
        """Pieces of the padded sequence as the encoder wants them, resized and cropped, one at a time.

        Args:
            frames: consecutive chunks of the video's frames.
            plan: its windows.
        """
        net = self._network
        cropped = (resize_and_crop(chunk, short_side=net.short_side, size=net.size, crop=net.crop) for chunk in frames)
        sequence = padded_sequence(cropped, plan)
        batch = min(self.batch_size, plan.steps)
        if self.mode == "continuous" or (self.shares_windows and plan.steps > 1):
            length = self.window + self.stride * self.batch_size
            length += -length % i3d.TEMPORAL_STRIDE
            return slabs(sequence, length=length, advance=length)
        return slabs(sequence, length=(batch - 1) * self.stride + self.window, advance=batch * self.stride)

    def encoder(self, plan: WindowPlan) -> Encoder:
        """A fresh encoder for the pieces of one video."""
        if not isinstance(self._module, i3d.InceptionI3d):
            return _WindowEncoder(self)
        if self.mode == "continuous":
            return _StreamEncoder(self, StreamingFeatures(self._module, window=self.window, stride=self.stride))
        if self.shares_windows and plan.steps > 1:
            return _StreamEncoder(self, SharedWindows(self._module, window=self.window, stride=self.stride))
        return _WindowEncoder(self)

    @property
    def shares_windows(self) -> bool:
        """Whether overlapping windows share their first layers (I3D only; exact)."""
        shares = self.mode == "windows" and isinstance(self._module, i3d.InceptionI3d)
        return shares and can_share(window=self.window, stride=self.stride)

    def run(self, clips: UInt8[Tensor, "B 3 T H W"]) -> Float[Tensor, "B D"]:
        """Features of clips of bytes on the device, through normalisation and network, in float32."""
        with torch.inference_mode(), self.precision():
            out: Tensor = self._module(self.normalised(clips))
            return out.float()

    def normalised(self, clips: UInt8[Tensor, "B 3 T H W"]) -> Float[Tensor, "B 3 t H W"]:
        """Clips of bytes as the network's input, channels last; t frames, which may be a choice of the T."""
        out: Tensor = self._normalise(clips)
        return out.contiguous(memory_format=torch.channels_last_3d)

    def precision(self) -> torch.autocast:
        """Context in which the network runs."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16)

    @property
    def module(self) -> nn.Module:
        """The network, on its device."""
        return self._module

    def describe(self) -> dict[str, Any]:
        """What determines the features, for the provenance."""
        return {
            "extractor": self.name,
            "dim": self.dim,
            "window": self.window,
            "stride": self.stride,
            "mode": self.mode,
            "padding": self.padding,
            "device": self.device.type,
            "device_name": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu",
            "dtype": str(self.dtype).removeprefix("torch."),
            **self._network.description,
        }


class _WindowEncoder:
    """Each window through the network by itself, several at once."""

    def __init__(self, extractor: Extractor) -> None:
        self._extractor = extractor

    def push(self, slab: UInt8[Tensor, "T H W 3"], *, last: bool) -> Float[Tensor, "n D"]:
        del last
        extractor = self._extractor
        windows = windows_of(slab, window=extractor.window, stride=extractor.stride)
        parts: list[Tensor] = []
        done = 0
        while done < len(windows):
            batch = windows[done : done + extractor.batch_size]
            try:
                parts.append(extractor.run(batch))
            except torch.cuda.OutOfMemoryError as error:
                if len(batch) == 1:
                    raise FeatureError(
                        f"{extractor.name}: one window does not fit the memory of {extractor.device}. Free the device, "
                        "or set `device: cpu`."
                    ) from error
                extractor.batch_size = len(batch) // 2
                torch.cuda.empty_cache()
                log.warning("out of device memory: going on with %d windows at once", extractor.batch_size)
                continue
            done += len(batch)
        return torch.cat(parts)


class _StreamEncoder:
    """I3D over a video in pieces that follow one another without overlap."""

    def __init__(self, extractor: Extractor, stream: StreamingFeatures | SharedWindows) -> None:
        self._extractor = extractor
        self._stream = stream

    def push(self, slab: UInt8[Tensor, "T H W 3"], *, last: bool) -> Float[Tensor, "n D"]:
        extractor = self._extractor
        try:
            with torch.inference_mode(), extractor.precision():
                video = extractor.normalised(slab.permute(3, 0, 1, 2)[None])
                return self._stream.push(video, last=last).float()
        except torch.cuda.OutOfMemoryError as error:
            raise FeatureError(
                f"{extractor.name}: a piece of {len(slab)} frames does not fit the memory of {extractor.device}. Set a "
                "smaller batch_size, free the device, or set `device: cpu`."
            ) from error


def choose_device(device: str) -> torch.device:
    """The device that a name means: ``"auto"`` is CUDA where there is one, else the CPU.

    Raises:
        FeatureError: CUDA is asked for and not there, or the name is none of ours.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cpu":
        return torch.device("cpu")
    if device.split(":")[0] == "cuda":
        if not torch.cuda.is_available():
            raise FeatureError(
                f"device {device}: no CUDA device is visible to torch here. Set `device: auto` or `cpu`."
            )
        return torch.device(device)
    raise FeatureError(f"device is auto, cpu or cuda, found {device!r}")


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """The precision that a name means: ``"auto"`` is bfloat16 where the hardware multiplies it natively.

    Raises:
        FeatureError: the name is none of ours.
    """
    if dtype == "auto":
        native = (
            torch.ops.mkldnn._is_mkldnn_bf16_supported() if device.type == "cpu" else torch.cuda.is_bf16_supported()
        )
        return torch.bfloat16 if native else torch.float32
    if dtype not in ("float32", "bfloat16"):
        raise FeatureError(f"dtype is auto, float32 or bfloat16, found {dtype!r}")
    return torch.float32 if dtype == "float32" else torch.bfloat16


def build_extractor(
    name: str,
    *,
    weights_path: Path | None,
    mean_path: Path | None = None,
    window: int,
    stride: int,
    mode: str = "windows",
    padding: str = "edge",
    device: str = "auto",
    dtype: str = "auto",
    batch_size: int | None = None,
) -> Extractor:
    """An extractor with its weights loaded, on its device.

    Args:
        name: one of `EXTRACTORS`.
        weights_path: file of weights.
        mean_path: C3D's mean clip, or None for the mean by channel.
        window: frames of a window.
        stride: frames between two steps.
        mode: ``"windows"`` or ``"continuous"``.
        padding: ``"edge"`` or ``"valid"``.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        dtype: ``"auto"``, ``"float32"`` or ``"bfloat16"``.
        batch_size: windows at once, or None.

    Raises:
        FeatureError: a name is unknown, weights are missing or belong to another network, or options contradict.
    """
    if name not in EXTRACTORS:
        raise FeatureError(f"no extractor is called {name!r}; there are {', '.join(EXTRACTORS)}")
    if weights_path is None:
        raise FeatureError(f"{name}: no weights are given. Name a file as `weights` of features.{name} in config.yaml.")
    chosen = choose_device(device)
    network, metadata = _build_network(name, weights_path, mean_path)
    network.description["weights"] = {
        "sha256": sha256_file(weights_path),
        "file": weights_path.name,
        "origin": metadata.get("source", metadata.get("name", "given by the user")),
    }
    extractor = Extractor(
        network,
        name=name,
        window=window,
        stride=stride,
        mode=mode,
        padding=padding,
        device=chosen,
        dtype=choose_dtype(dtype, chosen),
        batch_size=batch_size,
    )
    log.info("%s on %s in %s, %s", name, chosen, extractor.dtype, mode)
    return extractor


def _build_network(name: str, path: Path, mean_path: Path | None) -> tuple[Network, dict[str, str]]:
    if name == "i3d":
        model = i3d.InceptionI3d()
        metadata = weights.load_into(model, path, rename=weights.i3d_key)
        i3d.fold_batch_norm(model)
        about = {
            "resize": "short side 256, bilinear",
            "crop": "centre 224",
            "input": "RGB in [-1, 1]",
            "feature": "mean of the final average pool",
        }
        return Network(model, I3dClips(), i3d.FEATURE_DIM, 256, None, 224, about), metadata
    if name == "c3d":
        network = c3d.C3d()
        metadata = weights.load_into(network, path, rename=weights.c3d_key, unused=("fc7.", "fc8.", "cls_head."))
        crop_mean = c3d.load_crop_mean(mean_path) if mean_path else None
        mean = sha256_file(mean_path) if mean_path else f"by channel, BGR {c3d.CHANNEL_MEAN_BGR}"
        about = {
            "resize": "128x171, bilinear",
            "crop": "centre 112",
            "input": "BGR 0..255 minus mean",
            "mean": mean,
            "feature": "fc6 after ReLU",
        }
        clips = c3d.C3dClips(crop_mean=crop_mean)
        return Network(network, clips, c3d.FEATURE_DIM, None, c3d.RESIZED, c3d.CROP, about), metadata
    full = backbones.build_backbone(name)
    metadata = weights.load_into(full, path)
    backbone = backbones.Backbone(full)
    about = {
        "resize": "short side 256, bilinear",
        "crop": "centre 256",
        "input": "8 frames of the window, RGB, mean 0.45, deviation 0.225",
        "feature": "mean of the last stage's positions",
    }
    return Network(backbone, backbones.BackboneClips(), backbones.FEATURE_DIM, 256, None, 256, about), metadata


def _batch_for(device: torch.device, dtype: torch.dtype) -> int:
    if device.type == "cpu":
        return _CPU_BATCH
    free, _ = torch.cuda.mem_get_info(device)
    each = _BYTES_PER_WINDOW // (2 if dtype == torch.bfloat16 else 1)
    return int(min(max(0.6 * free // each, 1), 64))
