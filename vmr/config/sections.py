"""Sections of `config.yaml` about videos, queries, networks, training, evaluation and the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from vmr.config.feature_sections import MOST_FPS, FeatureSettings, of_assets
from vmr.config.moved import moved
from vmr.methods.catalogue import MethodName, MethodSections, family
from vmr.names import Device, FrameChoice, Precision, Selection
from vmr.settings.section import Positive, Probability, Section, Seed, Share

SHORTEST_SIDE = 112  # pixels that the smallest network looks at


class VideoSettings(Section):
    """How videos are probed and decoded."""

    fps: Annotated[
        float,
        Field(
            gt=0,
            le=MOST_FPS,
            description="Frames a second, chosen by presentation time stamp (the paper, section 2.2).",
        ),
    ] = 24.0
    frame_choice: Annotated[
        FrameChoice,
        Field(description="nearest: each frame at its nearest step, as ffmpeg's fps=24; shown: not before it is due."),
    ] = "nearest"
    short_side: Annotated[
        int, Field(ge=2, le=2160, description="Pixels of the shorter side in the frame store; networks need 112.")
    ] = 256
    probe_timeout_sec: Annotated[float, Field(gt=0, description="Seconds that ffprobe may take for one video.")] = 60.0
    decode_timeout_sec: Annotated[
        float, Field(gt=0, description="Seconds that decoding may take for each minute that a video lasts or begins.")
    ] = 120.0
    max_failed_share: Annotated[
        Share, Field(description="Share of a shard's present videos that may fail before the job fails.")
    ] = 0.5


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
    max_words: Annotated[int, Field(gt=0, description="Longer sentences are cut, and counted (the paper).")] = 25


class ModelSettings(Section):
    """Sizes of the networks."""

    hidden: Annotated[int, Field(gt=0, description="Width D of the fused embeddings.")] = 512
    query_hidden: Annotated[
        int, Field(gt=0, description="Width of the query LSTM in each direction (the paper: 512 for both).")
    ] = 256
    heads: Annotated[int, Field(gt=0, description="Heads of every attention.")] = 8
    dropout: Annotated[Probability, Field(description="Dropout everywhere but after LSTMs.")] = 0.2
    lstm_dropout: Annotated[Probability, Field(description="Dropout after LSTMs.")] = 0.5
    max_steps: Annotated[
        int, Field(gt=0, description="Longer videos are mean-pooled to so many steps (the paper).")
    ] = 128

    @model_validator(mode="after")
    def _heads_divide(self) -> ModelSettings:
        if self.hidden % self.heads:
            raise ValueError(f"model.hidden ({self.hidden}) must be divisible by model.heads ({self.heads})")
        if self.hidden % 2:
            raise ValueError(f"model.hidden ({self.hidden}) must be even, since LSTMs have two directions")
        return self


class TrainingSettings(Section):
    """How networks are trained."""

    methods: Annotated[
        list[MethodName],
        Field(description="Methods to train, each a row of the table; docs/methods.md lists all.", min_length=1),
    ] = family("ci_mha", blind=True)
    seeds: Annotated[list[Seed], Field(description="Each method is trained once with each.", min_length=1)] = [
        0, 1, 2, 3, 4,
    ]  # fmt: skip
    learning_rate: Annotated[
        float, Field(gt=0, description="Learning rate of Adam (the paper); a method may have its own.")
    ] = 1e-4
    batch_size: Annotated[Positive, Field(description="Queries of a training step (the paper).")] = 100
    epochs: Annotated[int, Field(gt=0, description="Most epochs.")] = 100
    patience: Annotated[int, Field(gt=0, description="Epochs without a better validation before training stops.")] = 20
    gradient_clip: Annotated[float, Field(gt=0, description="Largest norm of the gradient.")] = 1.0
    selection: Annotated[
        Selection,
        Field(
            description="validation: on training videos held out; test: only to compare with papers that did, labelled."
        ),
    ] = "validation"
    validation_fraction: Annotated[float, Field(gt=0, lt=1, description="Share of the training videos held out.")] = 0.1
    precision: Annotated[Precision, Field(description="auto: bfloat16 where it is faster.")] = "auto"
    device: Annotated[Device, Field(description="auto: CUDA where it is there, else the CPU.")] = "auto"
    threads: Annotated[int, Field(gt=0, le=1024, description="CPU threads of one training run.")] = 1

    @field_validator("methods", "seeds")
    @classmethod
    def _unique(cls, values: list[Any]) -> list[Any]:
        if len(set(values)) != len(values):
            raise ValueError(f"names something twice: {values}")
        return values


class EvaluationSettings(Section):
    """How predictions are made and scored."""

    top: Annotated[int, Field(ge=5, description="Spans kept for a query (R@5 needs five).")] = 5
    nms_threshold: Annotated[
        float,
        Field(
            gt=0, le=1, description="Temporal IoU above which a span is left out of the top five beside a better one."
        ),
    ] = 0.5
    batch_size: Annotated[Positive, Field(description="Queries that are predicted at once.")] = 200
    precision: Annotated[
        Precision, Field(description="float32: the same scores on every machine; bfloat16: in half of the time.")
    ] = "float32"


class ReportSettings(Section):
    """What the report shows of single queries."""

    cases: Annotated[int, Field(ge=0, le=50, description="Best, median and worst queries shown, so many each.")] = 3
    random_cases: Annotated[int, Field(ge=0, le=200, description="Queries drawn by chance.")] = 9
    thumbnails: Annotated[int, Field(ge=0, le=24, description="Pictures of a film strip; 0: none.")] = 8
    seed: Annotated[Seed, Field(description="Seed of the draw.")] = 0


class Settings(Section):
    """The sections that apply to one dataset, its overrides merged in."""

    video: VideoSettings = VideoSettings()
    features: FeatureSettings
    queries: QuerySettings = QuerySettings()
    model: ModelSettings = ModelSettings()
    methods: Annotated[MethodSections, Field(description="Settings that only one method has.")] = MethodSections()
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    report: ReportSettings = ReportSettings()

    @model_validator(mode="after")
    def _networks_can_look_at_frames(self) -> Settings:
        if self.video.short_side < SHORTEST_SIDE:
            raise ValueError(
                f"video.short_side ({self.video.short_side}) must be at least {SHORTEST_SIDE}, which c3d looks at"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _moved(cls, values: Any) -> Any:
        return moved(values) if isinstance(values, Mapping) else values
