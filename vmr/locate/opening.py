"""What `locate` and `serve` answer with: a model that was named, or none."""

from vmr.locate.settings import LocatorSettings
from vmr.locate.videos import VideoAnswers


def open_answers(opened: LocatorSettings) -> VideoAnswers:
    """The model, or without one the actions of Kinetics, for which nothing was trained.

    Raises:
        CheckpointError, FeatureError: see `Locator`.
        AssetError: no model was named, and the packages with the weights of Kinetics are not installed.
    """
    # Imported here, since loading torch takes seconds.
    if opened.model is None:
        from vmr.locate.zero_shot import ActionLocator

        return ActionLocator.load(cache=opened.cache, device=opened.device, features=opened.features)
    from vmr.locate.locator import Locator

    return Locator.load(opened.model, cache=opened.cache, device=opened.device, features=opened.features)
