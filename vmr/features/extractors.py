"""The interface behind which every network gives features: frames in, one vector a step out."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from vmr.config.extractors import ExtractorName
from vmr.config.feature_sections import ExtractorSettings
from vmr.errors import FeatureError
from vmr.features import c3d, i3d
from vmr.features.clips import Frames, WindowPlan, padded_sequence, plan_windows, resize_and_crop, slabs, without_gaps
from vmr.features.networks import Network, build_network
from vmr.features.shared_windows import SharedWindows, can_share
from vmr.features.streaming import StreamingFeatures
from vmr.features.window_encoders import StreamEncoder, WindowEncoder
from vmr.machine.memory import batch_that_fits
from vmr.machine.precision import choose_dtype

log = logging.getLogger(__name__)


class Extractor:
    """A network, how windows are laid over a video, and where and in which precision it runs.

    Raises:
        FeatureError: the network cannot see such windows, or has no such mode.
    """

    def __init__(
        self,
        network: Network,
        settings: ExtractorSettings,
        *,
        name: str,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        window, stride, mode = settings.window, settings.stride, settings.mode
        if mode == "continuous" and not isinstance(network.module, i3d.InceptionI3d):
            raise FeatureError(f"{name}: only i3d has the mode `continuous`; use `windows`")
        if mode == "continuous" and (window % i3d.TEMPORAL_STRIDE or stride % i3d.TEMPORAL_STRIDE):
            raise FeatureError(
                f"{name}: mode `continuous` needs window and stride in multiples of 8 frames, "
                f"found {window} and {stride}; use those or the mode `windows`"
            )
        if name == "i3d" and window <= i3d.TEMPORAL_STRIDE:
            raise FeatureError(f"i3d: a window needs at least 9 frames, found {window}")
        if name == "c3d" and window != c3d.WINDOW:
            raise FeatureError(f"c3d: its last layer is fully connected, so a window has 16 frames, found {window}")
        self.name, self.window, self.stride, self.mode, self.padding = name, window, stride, mode, settings.padding
        self.device, self.dtype, self.dim = device, dtype, network.dim
        self._network = network = _at_crop(network, settings.crop or network.crop, name=name)
        self.batch_size = settings.batch_size or batch_that_fits(device, dtype)
        self._module: nn.Module = network.module.eval().to(device).to(memory_format=torch.channels_last_3d)
        for layer in self._module.modules():
            if isinstance(layer, nn.Conv3d | nn.Linear):  # once, and not in each call of autocast
                layer.to(dtype)
        self._normalise = network.normalise.to(device)

    def plan(self, num_frames: int) -> WindowPlan:
        """The windows of a video of that many frames."""
        return plan_windows(num_frames, window=self.window, stride=self.stride, padding=self.padding)

    def pieces(self, frames: Iterable[Frames], plan: WindowPlan, *, cropped: bool = False) -> Iterator[Frames]:
        """Pieces of the padded sequence as the encoder wants them, one at a time: resized and cropped, unless the
        frames come so.
        """
        sequence = padded_sequence(frames if cropped else map(self.cropped, frames), plan)
        if self.mode == "continuous" or (self.shares_windows and plan.steps > 1):
            length = self.window + self.stride * self.batch_size
            return slabs(sequence, length=length, advance=length)
        batch = min(self.batch_size, plan.steps)
        seen = without_gaps(sequence, window=self.window, stride=self.stride)
        return slabs(seen, length=(batch - 1) * self.apart + self.window, advance=batch * self.apart)

    def cropped(self, frames: Frames) -> Frames:
        """Frames resized and cropped as the network wants them."""
        net = self._network
        return resize_and_crop(frames, short_side=net.short_side, size=net.size, crop=net.crop)

    def encoder(self, plan: WindowPlan) -> WindowEncoder | StreamEncoder:
        """A fresh encoder for the pieces of one video."""
        if isinstance(self._module, i3d.InceptionI3d):
            if self.mode == "continuous":
                return StreamEncoder(self, StreamingFeatures(self._module, window=self.window, stride=self.stride))
            if self.shares_windows and plan.steps > 1:
                return StreamEncoder(self, SharedWindows(self._module, window=self.window, stride=self.stride))
        return WindowEncoder(self)

    @property
    def apart(self) -> int:
        """Frames between the beginnings of two windows in a piece, at most a window."""
        return min(self.stride, self.window)

    @property
    def shares_windows(self) -> bool:
        """Whether overlapping windows share their first layers (I3D only; exact)."""
        shares = self.mode == "windows" and isinstance(self._module, i3d.InceptionI3d)
        return shares and can_share(window=self.window, stride=self.stride)

    def run(self, clips: UInt8[Tensor, "B 3 T H W"]) -> Float[Tensor, "B D"]:
        """Features of clips of bytes on the device, through normalisation and network, in float32."""
        with self.inference():
            out: Tensor = self._module(self.normalised(clips))
            return out.float()

    def normalised(self, clips: UInt8[Tensor, "B 3 T H W"]) -> Float[Tensor, "B 3 t H W"]:
        """Clips of bytes as the network's input, channels last; t frames, which may be a choice of the T."""
        out: Tensor = self._normalise(clips)
        return out.contiguous(memory_format=torch.channels_last_3d)

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Context in which the network runs: no gradients, its precision."""
        precision = torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16)
        with torch.inference_mode(), precision:
            yield

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


def _at_crop(network: Network, crop: int, *, name: str) -> Network:
    """The network with the whole picture made smaller, where it takes any size: I3D averages over all positions."""
    if crop == network.crop:
        return network
    if network.short_side is None or not isinstance(network.module, i3d.InceptionI3d):
        raise FeatureError(f"{name}: it sees {network.crop}x{network.crop} pixels and no others, found crop {crop}")
    short_side = round(network.short_side * crop / network.crop)
    about = i3d.sizes(short_side=short_side, crop=crop)
    return replace(network, short_side=short_side, crop=crop, description={**network.description, **about})


def build_extractor(name: ExtractorName, settings: ExtractorSettings, *, device: torch.device) -> Extractor:
    """An extractor with its weights loaded, on its device.

    Args:
        settings: its section; `weights` is the path of a file here.

    Raises:
        FeatureError: weights are missing or belong to another network, or options contradict.
    """
    network = build_network(name, Path(settings.weights), mean_path=Path(settings.mean) if settings.mean else None)
    extractor = Extractor(network, settings, name=name, device=device, dtype=choose_dtype(settings.dtype, device))
    log.info("%s on %s in %s, %s", name, device, extractor.dtype, settings.mode)
    return extractor
