"""The prediction half of the stage zero_shot: moments of sentences that name actions, with nothing trained."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from vmr.annotations.moments import read_moments
from vmr.errors import EvaluationError, FeatureError
from vmr.features.store import FeatureStore
from vmr.queries.sentence_encoder import SentenceEncoder
from vmr.storage.files import sha256_file, write_text
from vmr.zero_shot.actions import ActionMatcher, action_names, named
from vmr.zero_shot.moments import ActionClassifier, stretches

log = logging.getLogger(__name__)


def predict_actions(
    *, moments: Path, features: Path, weights: Path, encoder: Path, splits: Sequence[str], output: Path, top: int
) -> None:
    """Write ranked spans of every query whose video has features, one JSON object a line.

    Every query is answered by the actions nearest to it, however far: a table counts what is not answered as wrong.

    Args:
        features: of I3D with these weights, whose classifier reads them.
        encoder: the asset `minilm_l6_v2`.
        top: spans of a query.

    Raises:
        EvaluationError: the splits have no queries.
        FeatureError: the features were made with other weights.
    """
    table = read_moments(moments)
    table = table[table["split"].isin(list(splits))]
    if table.empty:
        raise EvaluationError(f"{moments}: no queries in the splits {', '.join(splits)}. Look at the annotations.")
    classifier = ActionClassifier(weights, actions=len(action_names()))
    matcher = ActionMatcher(SentenceEncoder.read(encoder))
    sentences = list(dict.fromkeys(table["sentence"]))
    actions = {
        sentence: [each.number for each in named(row)]
        for sentence, row in zip(sentences, matcher.similarities(sentences), strict=True)
    }
    lines: dict[str, str] = {}
    with FeatureStore(features) as store:
        made = store.provenance.get("weights")
        if not isinstance(made, dict) or made.get("sha256") != sha256_file(weights):
            raise FeatureError(f"{features}: expected features of {weights}. Extract them again, or name the others.")
        for video_id, rows in tqdm(table.groupby("video_id", sort=False), unit="video", disable=None):
            if str(video_id) not in store:
                continue
            video = store.get(str(video_id))
            probabilities = classifier.probabilities(video.features)
            for query_id, split, sentence in zip(rows["query_id"], rows["split"], rows["sentence"], strict=True):
                steps, scores = stretches(probabilities[:, actions[sentence]].sum(axis=1), most=top)
                spans = [
                    [float(video.start_sec[first]), float(video.end_sec[last]), float(score)]
                    for (first, last), score in zip(steps, scores, strict=True)
                ]
                answer = {"query_id": query_id, "video_id": video_id, "split": split, "spans": spans}
                lines[query_id] = json.dumps(answer, ensure_ascii=False)
    write_text(output, "".join(f"{lines[query_id]}\n" for query_id in table["query_id"] if query_id in lines))
    log.info("%s: %d of %d queries answered", output, len(lines), len(table))
