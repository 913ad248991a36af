"""Sections of `config.yaml` about videos, queries, networks, training, evaluation and the report."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from vmr.config.feature_sections import MOST_FPS, FeatureSettings, of_assets
from vmr.config.moved import moved
from vmr.methods.catalogue import MethodName, MethodSections, family
from vmr.names import Device, FrameChoice, Precision, Selection
from vmr.settings.section import Positive, Probability, Section, Seed, Share

SHORTEST_SIDE = 112  # pixels that the smallest network looks at


class VideoSettings(Section):
    """How videos are probed and decoded."""

    fps: float = Field(
        default=24.0,
        gt=0,
        le=MOST_FPS,
        description="Frames a second, chosen by presentation time stamp (the paper, section 2.2).",
    )
    frame_choice: FrameChoice = Field(
        default="nearest",
        description="nearest: each frame at its nearest step, as ffmpeg's fps=24; shown: not before it is due.",
    )
    short_side: int = Field(
        default=256, ge=2, le=2160, description="Pixels of the shorter side in the frame store; networks need 112."
    )
    probe_timeout_sec: float = Field(default=60.0, gt=0, description="Seconds that ffprobe may take for one video.")
    decode_timeout_sec: float = Field(
        default=120.0, gt=0, description="Seconds that decoding may take for each minute that a video lasts or begins."
    )
    max_failed_share: Share = Field(
        default=0.5, description="Share of a shard's present videos that may fail before the job fails."
    )


class QuerySettings(Section):
    """How sentences become word vectors."""

    vectors: Annotated[
        str,
        Field(
            description="An asset (glove_840b_300d is what papers use: 2 GB, once; minilm_l6_v2: by whole sentences) "
            "or the path of a GloVe text."
        ),
        of_assets("glove_package", "glove_zip", "minilm_package", or_path=True),
    ] = "glove_6b_50d"
    max_words: int = Field(default=25, gt=0, description="Longer sentences are cut, and counted (the paper).")


class ModelSettings(Section):
    """Sizes of the networks."""

    hidden: int = Field(default=512, gt=0, description="Width D of the fused embeddings.")
    query_hidden: int = Field(
        default=256, gt=0, description="Width of the query LSTM in each direction (the paper: 512 for both)."
    )
    heads: int = Field(default=8, gt=0, description="Heads of every attention.")
    dropout: Probability = Field(default=0.2, description="Dropout everywhere but after LSTMs.")
    lstm_dropout: Probability = Field(default=0.5, description="Dropout after LSTMs.")
    max_steps: int = Field(default=128, gt=0, description="Longer videos are mean-pooled to so many steps (the paper).")

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.hidden % self.heads:
            raise ValueError(f"model.hidden ({self.hidden}) must be divisible by model.heads ({self.heads})")
        if self.hidden % 2:
            raise ValueError(f"model.hidden ({self.hidden}) must be even, since LSTMs have two directions")
        return self


class TrainingSettings(Section):
    """How networks are trained."""

    methods: list[MethodName] = Field(
        default=family("ci_mha", blind=True),
        description="Methods to train, each a row of the table; docs/methods.md lists all.",
        min_length=1,
    )
    seeds: Annotated[list[Seed], Field(description="Each method is trained once with each.", min_length=1)] = [
        0, 1, 2, 3, 4,
    ]  # fmt: skip
    learning_rate: float = Field(
        default=1e-4, gt=0, description="Learning rate of Adam (the paper); a method may have its own."
    )
    batch_size: Positive = Field(default=100, description="Queries of a training step (the paper).")
    epochs: int = Field(default=100, gt=0, description="Most epochs.")
    patience: int = Field(default=20, gt=0, description="Epochs without a better validation before training stops.")
    gradient_clip: float = Field(default=1.0, gt=0, description="Largest norm of the gradient.")
    selection: Selection = Field(
        default="validation",
        description="validation: on training videos held out; test: only to compare with papers that did, labelled.",
    )
    validation_fraction: float = Field(default=0.1, gt=0, lt=1, description="Share of the training videos held out.")
    precision: Precision = Field(default="auto", description="auto: bfloat16 where it is faster.")
    device: Device = Field(default="auto", description="auto: CUDA where it is there, else the CPU.")
    threads: int = Field(default=1, gt=0, le=1024, description="CPU threads of one training run.")

    @field_validator("methods", "seeds")
    @classmethod
    def _unique(cls, values: list[Any]) -> list[Any]:
        if len(set(values)) != len(values):
            raise ValueError(f"names something twice: {values}")
        return values


class EvaluationSettings(Section):
    """How predictions are made and scored."""

    top: int = Field(default=5, ge=5, description="Spans kept for a query (R@5 needs five).")
    nms_threshold: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Temporal IoU above which a span is left out of the top five beside a better one.",
    )
    batch_size: Positive = Field(default=200, description="Queries that are predicted at once.")
    precision: Precision = Field(
        default="float32", description="float32: the same scores on every machine; bfloat16: in half of the time."
    )


class ReportSettings(Section):
    """What the report shows of single queries."""

    cases: int = Field(default=3, ge=0, le=50, description="Best, median and worst queries shown, so many each.")
    random_cases: int = Field(default=9, ge=0, le=200, description="Queries drawn by chance.")
    thumbnails: int = Field(default=8, ge=0, le=24, description="Pictures of a film strip; 0: none.")
    seed: Seed = Field(default=0, description="Seed of the draw.")


class Settings(Section):
    """The sections that apply to one dataset, its overrides merged in."""

    video: VideoSettings = VideoSettings()
    features: FeatureSettings = FeatureSettings()
    queries: QuerySettings = QuerySettings()
    model: ModelSettings = ModelSettings()
    methods: MethodSections = Field(default=MethodSections(), description="Settings that only one method has.")
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    report: ReportSettings = ReportSettings()

    @model_validator(mode="after")
    def _networks_can_look_at_frames(self) -> Self:
        if self.video.short_side < SHORTEST_SIDE:
            raise ValueError(
                f"video.short_side ({self.video.short_side}) must be at least {SHORTEST_SIDE}, which c3d looks at"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _moved(cls, values: Any) -> Any:
        return moved(values) if isinstance(values, Mapping) else values
