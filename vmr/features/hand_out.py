"""Features for programs of other people, in the two layouts in which most of them keep theirs."""

import json
from pathlib import Path

import numpy as np
from tqdm import tqdm

from vmr.errors import FeatureError
from vmr.features.store import FeatureStore
from vmr.names import ImportLayout
from vmr.storage.files import atomic_path, write_json, writing
from vmr.storage.hdf5 import new_hdf5

_PROVENANCE = "provenance.json"


def hand_out_features(*, features: Path, layout: ImportLayout, output: Path) -> str:
    """Write the features of every video, (steps, numbers) in single precision, under its id.

    Args:
        features: a merged file or a shard.
        layout: ``npy_folder``: a file ``ID.npy`` a video, and what made them in ``provenance.json``; ``hdf5``: one file
            with a dataset a video at its root, and what made them in the attribute ``provenance``. Links are resolved.

    Returns:
        What was written where, in words.

    Raises:
        FeatureError: the file is missing or no feature file, or the folder to write holds something.
        DamageError: its features are others than were written.
        ShardError: the disk is full, or the output cannot be written.
    """
    with FeatureStore(features) as store, writing(output):
        names, provenance = store.video_ids, store.provenance
        shown = tqdm(names, desc="write", unit="video", disable=None)
        if layout == "hdf5":
            with atomic_path(output) as temporary, new_hdf5(temporary) as file:
                file.attrs["provenance"] = json.dumps(provenance, sort_keys=True)
                for video_id in shown:
                    file[video_id] = store.get(video_id).features
        else:
            if output.exists() and (not output.is_dir() or any(output.iterdir())):
                raise FeatureError(f"{output}: expected a folder that is new or empty. Name another.")
            for video_id in shown:
                with atomic_path(output / f"{video_id}.npy") as temporary:
                    np.save(temporary, store.get(video_id).features)
            write_json(output / _PROVENANCE, provenance)
    rate = f", every {provenance['stride']:g} of {provenance['fps']:g} frames a second" if provenance.get("fps") else ""
    return f"{output}: {len(names):,} videos, steps of {store.dim} numbers{rate}"
