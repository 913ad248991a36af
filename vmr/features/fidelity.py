"""How near one pass over a video comes to exact windows: measured on a sample, kept beside the features."""

import numpy as np
import torch

from vmr.features.extractors import Extractor
from vmr.features.store import VideoFeatures
from vmr.video.frames import FrameStore
from vmr.video_ids import shard_of

# One video in so many is compared, chosen by its id, so that the choice is the same however often a shard is resumed.
_SAMPLED_ONE_IN = 8


def compared_videos(video_ids: list[str]) -> set[str]:
    """The videos of a shard of which one window is computed exactly too: the first, and about one in 8.

    Not in the paper; a window costs about as much as the pass over two seconds of video.
    """
    sampled = {video_id for video_id in video_ids if shard_of(video_id, _SAMPLED_ONE_IN) == 0}
    return sampled | set(sorted(video_ids)[:1])


def cosine_to_exact_window(
    extractor: Extractor, store: FrameStore, video_id: str, video: VideoFeatures
) -> tuple[int, float]:
    """Compare the vector of the middle step with that of its window by itself: the step, and the cosine."""
    plan = extractor.plan(store.info(video_id).num_frames)
    step = plan.steps // 2
    begin = plan.first_frame + step * plan.stride
    # Windows that are far apart may begin behind the last frame.
    first = min(max(begin, 0), plan.num_frames - 1)
    behind = max(min(begin + plan.window, plan.num_frames), first + 1)
    frames = extractor.cropped(np.concatenate(list(store.read(video_id, start=first, stop=behind))))
    # The first and last frame are repeated where the window hangs over an edge, as everywhere.
    seen = np.clip(np.arange(begin, begin + plan.window), first, behind - 1) - first
    clip = torch.from_numpy(frames[seen]).permute(3, 0, 1, 2)[None].to(extractor.device)
    exact = extractor.run(clip)[0].cpu()
    return step, float(torch.cosine_similarity(exact, torch.from_numpy(video.features[step]), dim=0))
