"""C3D (Tran et al., "Learning Spatiotemporal Features with 3D Convolutional Networks", ICCV 2015, Figure 3)."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from vmr.assets.torch_weights import C3D_CHANNELS, c3d_key
from vmr.errors import FeatureError
from vmr.features import weights
from vmr.features.foreign_files import ARRAY_ERRORS
from vmr.features.networks import Network
from vmr.storage.files import sha256_file

FEATURE_DIM = 4096
WINDOW = 16
CROP = 112
RESIZED = (128, 171)
# Mean of Sports-1M by channel as mmaction2's C3D configuration has it (standard deviation 1), in the order of
# Caffe and OpenCV, under which the network was trained: blue, green, red.
CHANNEL_MEAN_BGR = (104.0, 117.0, 128.0)

# Figure 3: eight convolutions 3x3x3, and a pool behind each of these five. Pool 1 leaves time alone; pool 5 pads height
# and width by one at both sides, as Caffe's rounding up did, so that fc6 sees 512 x 1 x 4 x 4.
_POOLED = ("conv1", "conv2", "conv3b", "conv4b", "conv5b")


class C3d(nn.Module):
    """C3D up to fc6; the keys are those of the plain PyTorch ports (``conv1.weight`` ... ``fc6.bias``)."""

    def __init__(self) -> None:
        super().__init__()
        for name, (inputs, outputs) in C3D_CHANNELS.items():
            self.add_module(name, nn.Conv3d(inputs, outputs, kernel_size=3, padding=1))
            if name in _POOLED:
                kernel = (1 if name == "conv1" else 2, 2, 2)
                pool = nn.MaxPool3d(kernel, stride=kernel, padding=(0, 1, 1) if name == "conv5b" else 0)
                self.add_module(f"pool{name[4]}", pool)
        self.fc6 = nn.Linear(8192, FEATURE_DIM)

    def stages(self) -> dict[str, nn.Module]:
        """Convolutions and pools by name, in the order in which they are applied."""
        return {name: module for name, module in self.named_children() if name != "fc6"}

    def forward(self, clips: Float[Tensor, "B 3 16 112 112"]) -> Float[Tensor, "B 4096"]:
        """Activations of fc6 after its ReLU, in float32: the vector that the authors' feature extraction gave."""
        x = clips
        for name, stage in self.stages().items():
            x = stage(x)
            if name.startswith("conv"):
                x = F.relu(x, inplace=not torch.is_grad_enabled())
        # Channels outermost, whatever the memory format: fc6 was trained on that order.
        return F.relu(self.fc6(x.contiguous().flatten(1))).float()


def load_crop_mean(path: Path | str) -> Float[np.ndarray, "16 112 112 3"]:
    """The mean clip of Sports-1M, channels blue, green, red as in the published file.

    Raises:
        FeatureError: the file is not a plain array of that shape.
    """
    try:
        # Mapped, a file that claims more than it holds is refused instead of taking the memory for it.
        mean = np.load(path, allow_pickle=False, mmap_mode="r")
    except ARRAY_ERRORS as error:
        raise FeatureError(
            f"{path}: cannot be read as the mean clip of C3D ({error}); expected a .npy file."
        ) from error
    if not isinstance(mean, np.ndarray) or mean.shape != (WINDOW, CROP, CROP, 3) or mean.dtype.kind not in "fiu":
        found = f"{mean.dtype} of shape {mean.shape}" if isinstance(mean, np.ndarray) else "several arrays"
        raise FeatureError(f"{path}: expected the mean clip of C3D, numbers of shape (16, 112, 112, 3), found {found}.")
    return np.array(mean, dtype=np.float32)


class C3dClips(nn.Module):
    """Subtract the mean of Sports-1M and order the channels blue, green, red; no mean clip: the mean by channel."""

    mean: Tensor

    def __init__(self, *, crop_mean: Float[np.ndarray, "16 112 112 3"] | None = None) -> None:
        super().__init__()
        if crop_mean is None:
            mean = torch.tensor(CHANNEL_MEAN_BGR).reshape(3, 1, 1, 1)
        else:
            mean = torch.from_numpy(crop_mean).permute(3, 0, 1, 2)
        self.register_buffer("mean", mean, persistent=False)

    def forward(self, clips: UInt8[Tensor, "B 3 T H W"]) -> Float[Tensor, "B 3 T H W"]:
        """RGB bytes to the network's input: blue, green, red, mean subtracted, values about [-128, 152]."""
        return clips.flip(1).float() - self.mean


def prepared(_name: str, path: Path, *, mean_path: Path | None) -> tuple[Network, dict[str, str]]:
    """The network with these weights, and what their file says of them."""
    network = C3d()
    metadata = weights.load_into(network, path, rename=c3d_key, unused=("fc7.", "fc8."))
    crop_mean = load_crop_mean(mean_path) if mean_path else None
    about = {
        "resize": "128x171, bilinear",
        "crop": "centre 112",
        "input": "BGR 0..255 minus mean",
        "mean": sha256_file(mean_path) if mean_path else f"by channel, BGR {CHANNEL_MEAN_BGR}",
        "feature": "fc6 after ReLU",
    }
    return Network(network, C3dClips(crop_mean=crop_mean), FEATURE_DIM, None, RESIZED, CROP, about), metadata
