"""Configuration: frozen dataclasses with the default, the description and the allowed values of every option.

    config = load_config("configs/mitdb.yaml", overrides=["training.epochs=3"])
    config.beats.half_window_samples

A YAML file contains only the options that differ from the defaults, and the reasons. An unknown key, a value of another
type or a value out of range is an error that names the option. The description of an option is
`field.metadata["help"]`; the configuration reference of the documentation is generated from it.
"""

import dataclasses
import difflib
import math
import re
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml

from keras_ecg.errors import InputError
from keras_ecg.resources import find_config, find_data

NUMBER = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")
MAX_SEED = 2**32 - 1  # the largest seed that NumPy accepts
SMALLEST = 1e-12  # lower limit of options that must be positive


def option(
    default: Any, description: str, *, least: float | None = None, most: float | None = None, distinct: bool = False
) -> Any:
    """Declare a field of a `Section`.

    Args:
        default: the default value, or a class that makes a new one for each configuration.
        description: what the option does, its unit, and the reason for the default.
        least: smallest allowed value, also of the elements of a tuple; a value with any limit must be finite.
        most: largest allowed value, also of the elements of a tuple.
        distinct: whether a tuple must have at least one element and no duplicates.

    Returns:
        A dataclass field with the metadata `help`, `limits` (present if any limit is given) and `distinct`.
    """
    metadata: dict[str, Any] = {"help": description, "distinct": distinct}
    if least is not None or most is not None:
        metadata["limits"] = (-math.inf if least is None else least, math.inf if most is None else most)
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


class Section:
    """Base class of the parts of the configuration: checks the declared limits of its options on construction.

    A subclass inside another section states where: `class Context(Section, path="beats.context")`.

    Raises:
        InputError: on construction, if a value is out of range; names the option, its value and its limits.
    """

    path = ""  # where the section is in the configuration, for messages

    def __init_subclass__(cls, path: str = "", **kwargs):
        super().__init_subclass__(**kwargs)
        cls.path = path or cls.__name__.lower()

    def __post_init__(self):
        for declared in dataclasses.fields(self):
            self._check(f"{self.path}.{declared.name}", getattr(self, declared.name), declared.metadata)

    @staticmethod
    def _check(where: str, value: Any, metadata: typing.Mapping) -> None:
        if "limits" in metadata and value is not None:
            least, most = metadata["limits"]
            values = value if isinstance(value, tuple) else (value,)
            expected = f"at least {least:g}" if most == math.inf else f"{least:g} to {most:g}"
            if not all(least <= v <= most and v < math.inf for v in values):  # False for NaN as well
                raise InputError(where, str(value), expected, "correct it")
        if metadata.get("distinct") and (not value or len(set(value)) < len(value)):
            raise InputError(where, str(list(value)), "at least one seed, none of them twice", "correct it")


@dataclass(frozen=True)
class Database(Section):
    """Names of the input folder and of the output folders."""

    name: str = option(
        "mitdb",
        "Database that the recordings belong to: mitdb, cinc2017 and ptbxl have known subjects and labels; with any "
        "other name the subjects are read from subjects.csv in data_dir.",
    )
    data_dir: str = option(
        "mit-bih-arrhythmia-database-1.0.0",
        "Folder of the WFDB recordings; the default is the one that PhysioNet's archive unpacks to.",
    )
    hdf5_dir: str = option("preprocessed_data_h5_raw", "Folder for the HDF5 files of preprocessed records.")
    tfrecord_dir: str = option("tfrecord_data_batched", "Folder for the TFRecord files of beat sequences.")
    runs_dir: str = option("Research_Runs", "Folder that contains one folder for each run.")
    records: tuple[str, ...] = option((), "Records to preprocess; empty means every record of data_dir.")


@dataclass(frozen=True)
class Context(Section, path="beats.context"):
    """Signal window around each beat, for encoders pretrained on windows.

    Rate and band must equal those of the windows that the encoder was pretrained on.
    """

    seconds: float = option(
        0.0, "Length of the window in seconds; 0 stores none, because most models need only the beat.", least=0
    )
    sampling_rate_hz: float = option(
        100.0, "Sampling rate of the window in Hz; 100 Hz is the rate of the pretrained encoders.", least=1
    )
    bandpass_hz: tuple[float, ...] = option(
        (0.5, 40.0),
        "Cut-off frequencies [low, high] in Hz of the zero-phase band-pass filter, which removes baseline wander and "
        "mains noise; empty leaves the signal unfiltered.",
        least=0,
    )

    @property
    def samples(self) -> int:
        """Samples T of a window, an even number with the beat in the middle; 0 if no window is stored."""
        return round(self.seconds * self.sampling_rate_hz) // 2 * 2


@dataclass(frozen=True)
class Beats(Section):
    """Segmentation of recordings into single-lead beats, and their wavelet transform."""

    lead: str = option(
        "MLII", "Lead to use; 46 of the 48 records of MIT-BIH have MLII, in which the QRS complex is large."
    )
    fallback_leads: tuple[str, ...] = option(
        ("II", "V5", "V2", "V1", "V4", "ECG1", "ECG"),
        "Leads to use instead, in this order, for a record without `lead`: 102 and 104 of MIT-BIH lack MLII.",
    )
    sampling_rate_hz: float = option(
        360.0, "Sampling rate of the beats in Hz; recordings at other rates are resampled to it.", least=1
    )
    half_window_samples: int = option(
        93,
        "Samples on each side of the R peak; 93 gives 187 samples or 0.52 s at 360 Hz, from the P wave to the T wave.",
        least=1,
    )
    bandpass_hz: tuple[float, ...] = option(
        (),
        "Cut-off frequencies [low, high] in Hz of a zero-phase band-pass filter, for example [0.5, 40]; empty leaves "
        "the signal unfiltered, because the wavelet transform separates the bands.",
        least=0,
    )
    edge: Literal["pad", "drop"] = option(
        "pad",
        "Treatment of beats nearer than half a window to an end of the recording: pad repeats the last sample, so that "
        "every annotated beat is scored; drop excludes and counts them.",
    )
    wavelet: str = option(
        "morl",
        "Real wavelet of PyWavelets: morl, mexh or gaus1 to gaus8; Morlet is the usual choice for ECG scalograms.",
    )
    scales: int = option(
        32, "Number F of wavelet scales, 1 to F samples; 32 cover 292 Hz to 9.1 Hz at 360 Hz.", least=1
    )
    context: Context = option(Context, "Signal window around each beat, for encoders pretrained on windows.")


@dataclass(frozen=True)
class Sequences(Section):
    """Sequences of consecutive beats, each of which is one training example."""

    length: int = option(
        3, "Number S of consecutive beats in a sequence; 3 include the beats before and after.", least=1
    )
    label_beat: Literal["middle", "last"] = option(
        "middle", "Beat whose class is the label of the sequence; last uses no later beat, as in monitoring."
    )
    chunk_size: int = option(
        256, "Sequences in one TFRecord file; consecutive sequences share beats, which are stored once.", least=1
    )
    storage: Literal["scalogram", "samples"] = option(
        "scalogram",
        "Content of the TFRecord files: scalograms and samples, or samples alone, from which scalograms are computed "
        "during training (smaller files, more computation).",
    )


@dataclass(frozen=True)
class Loader(Section):
    """Shuffling, normalization and inputs of the training stream."""

    batch_size: int = option(256, "Examples in a batch.", least=1)
    cycle_length: int = option(
        4, "TFRecord files read in parallel and interleaved; more mix records better and need more memory.", least=1
    )
    shuffle_chunks: int = option(
        16, "Chunks that are shuffled together in memory; 16 chunks contain 4,096 sequences of beats.", least=1
    )
    scalograms: bool = option(
        True, "Whether scalograms (B, S, F, T, 1) are an input; encoders of windows do not need them."
    )
    context: bool = option(
        False, "Whether the z-scored signal window around the beat (B, T, 1) is an input; see beats.context."
    )
    normalize: Literal["scale", "global", "none"] = option(
        "scale",
        "Standardization of scalograms by training statistics: for each scale, because magnitudes grow with the scale; "
        "over all scales; or none.",
    )
    center: bool = option(
        False,
        "Whether each beat's median is subtracted before its wavelet transform, which is then computed during "
        "training; it removes artefacts of the offset at the ends of the window.",
    )
    rr_features: bool = option(False, "Whether RR features (B, S, 40) are an input; they indicate premature beats.")
    waveforms: bool = option(
        False,
        "Whether the beat and its difference from the record's median beat (B, S, T, 2) are an input; transductive, "
        "because the median beat is computed from the whole record.",
    )
    difference_quantiles: bool = option(
        False,
        "Whether quantiles (B, 4) of the record's QRS differences from its median beat are an input; transductive, for "
        "the same reason; requires waveforms.",
    )
    seed: int = option(0, "Seed of shuffling, sampling and augmentation.", least=0, most=MAX_SEED)


@dataclass(frozen=True)
class Augment(Section):
    """Random augmentation of training sequences, drawn again in each epoch; 0 disables an augmentation."""

    normal_per_epoch: int = option(
        0,
        "N beats drawn in an epoch, from each record in proportion to the square root of its number of N beats; 0 uses "
        "all. Fewer shorten training, because most N beats of a record are nearly equal.",
        least=0,
    )
    fusion_per_epoch: int = option(
        0,
        "F beats drawn in an epoch, in the same way; 0 uses all. Most F beats belong to one or two subjects.",
        least=0,
    )
    premature: float = option(
        0.0,
        "Fraction of N beats in a regular rhythm whose RR intervals are replaced by a rhythm with premature beats; a "
        "beat that becomes premature is labelled S, because S beats come from few subjects.",
        least=0,
        most=1,
    )
    irregular: float = option(
        0.0,
        "Fraction of the same N beats whose RR intervals are replaced by those of atrial fibrillation; the label stays "
        "N, so that irregularity alone does not mean S.",
        least=0,
        most=1,
    )
    mostly_premature: float = option(
        0.3,
        "Fraction of the premature rhythms in which premature beats are more frequent than others.",
        least=0,
        most=1,
    )
    rr_swapping: float = option(
        0.0,
        "Fraction of V beats that get the premature rhythm of another sequence, because their shape, not their timing, "
        "defines them.",
        least=0,
        most=1,
    )
    fusion: float = option(
        0.0,
        "Fraction of V beats that are averaged with the record's median beat and labelled F, because F beats are rare.",
        least=0,
        most=1,
    )
    tempo: float = option(
        0.0, "Largest change t of heart rate: all RR intervals are multiplied by exp(u), u in [-t, t].", least=0, most=3
    )
    amplitude: float = option(
        0.0, "Largest change a of amplitude: all samples are multiplied by exp(u), u in [-a, a].", least=0, most=3
    )
    shift_samples: int = option(
        0, "Largest shift of a sequence in samples, in either direction; imitates a detector's bias.", least=0
    )
    noise_mv: float = option(0.0, "Largest standard deviation of white noise in mV.", least=0, most=100)
    wander_mv: float = option(0.0, "Mean amplitude of sinusoidal baseline wander in mV.", least=0, most=100)


@dataclass(frozen=True)
class WindowSource(Section, path="windows.sources"):
    """Folder of recordings from which windows without labels are cut."""

    database: str = option("", "Name of the database, different for each source; see database.name.")
    folder: str = option("", "Folder of the WFDB recordings.")
    records: tuple[str, ...] = option((), "Records to use; empty means every record of the folder.")
    exclude: tuple[str, ...] = option((), "Records to leave out, or subjects with all their records.")
    folds: tuple[int, ...] = option((), "Folds of PTB-XL to use, 1 to 10; empty means all folds.", least=1, most=10)
    overlap: float | None = option(
        None, "Overlap of consecutive windows of this source; null means windows.overlap.", least=0, most=1
    )


@dataclass(frozen=True)
class Windows(Section):
    """Windows without labels for self-supervised pretraining."""

    sources: tuple[WindowSource, ...] = option((), "Folders of recordings from which windows are cut.")
    length_seconds: float = option(
        10.0, "Length of a window in seconds; 10 s is the length of a standard 12-lead recording.", least=0
    )
    overlap: float = option(
        0.5, "Fraction of a window that the next window repeats, at least 0 and less than 1.", least=0, most=1
    )
    sampling_rate_hz: float = option(
        100.0,
        "Sampling rate of the windows in Hz; 100 Hz is sufficient for the 40 Hz of the band-pass filter.",
        least=0,
    )
    leads: tuple[str, ...] = option(("MLII",), "Leads of a window, in this order.")
    fallback_leads: tuple[str, ...] = option(
        ("II", "ECG", "I", "V5"), "Leads to use instead of a missing one, in this order; cinc2017 has only ECG."
    )
    bandpass_hz: tuple[float, ...] = option(
        (0.5, 40.0),
        "Cut-off frequencies [low, high] in Hz of the zero-phase band-pass filter, which removes baseline wander and "
        "mains noise; empty leaves the signal unfiltered.",
        least=0,
    )
    chunk_size: int = option(256, "Windows in one TFRecord file.", least=1)
    validation_fraction: float = option(
        0.1,
        "Fraction of each database's subjects held out for the validation loss, more than 0 and less than 1.",
        least=0,
        most=1,
    )
    validation_seed: int = option(0, "Seed of the choice of held-out subjects.", least=0, most=MAX_SEED)
    tfrecord_dir: str = option("window_tfrecords", "Folder for the TFRecord files of windows.")


@dataclass(frozen=True)
class RhythmAugment(Section, path="rhythm.augment"):
    """Random augmentation of training recordings, drawn again in each epoch; 0 disables an augmentation.

    Amplitudes are in standard deviations of the recording, because recordings are z-scored.
    """

    invert: float = option(
        0.0,
        "Fraction of recordings with inverted polarity: electrodes of hand-held recorders are often swapped.",
        least=0,
        most=1,
    )
    amplitude: float = option(
        0.0, "Largest change a of amplitude: all samples are multiplied by exp(u), u in [-a, a].", least=0, most=3
    )
    noise: float = option(
        0.0, "Largest standard deviation of white noise, in standard deviations of the recording.", least=0, most=100
    )
    wander: float = option(
        0.0,
        "Largest amplitude of baseline wander, a sum of slow sinusoids, in standard deviations of the recording.",
        least=0,
        most=100,
    )
    erase_seconds: float = option(
        0.0, "Longest segment in seconds that is set to zero; imitates an electrode without contact.", least=0
    )


@dataclass(frozen=True)
class Robustness(Section, path="rhythm.robustness"):
    """Evaluation of a trained rhythm classifier on disturbed test recordings, and its occlusion maps."""

    recordings: int = option(
        400, "Test recordings, as many of each class as possible, that are disturbed; 0 skips this evaluation.", least=0
    )
    snr_db: tuple[float, ...] = option(
        (24.0, 18.0, 12.0, 6.0, 0.0, -6.0),
        "Signal-to-noise ratios in dB of added noise; the steps are those of the MIT-BIH Noise Stress Test Database.",
        least=-100,
        most=100,
    )
    rates_hz: tuple[float, ...] = option(
        (200.0, 150.0, 120.0, 100.0, 75.0, 50.0),
        "Low sampling rates in Hz to which recordings are reduced before they are resampled to the usual rate.",
        least=1,
    )
    noise_dir: str = option(
        "", "Folder of nstdb, whose records bw and ma are the noises; empty uses synthetic noise, and reports it."
    )
    occlusion_recordings: int = option(
        120, "Test recordings for which occlusion maps are computed; 0 skips them.", least=0
    )
    maps_drawn: int = option(8, "Occlusion maps that are drawn in the report.", least=0)
    occlusion_seconds: float = option(1.0, "Length of an occluded segment in seconds; about one beat.", least=0.01)
    deletion_fractions: tuple[float, ...] = option(
        (0.1, 0.2, 0.3),
        "Deletion test: fractions of the segments that are deleted, the most important ones or random ones.",
        least=0,
        most=1,
    )
    random_draws: int = option(5, "Random deletions for each fraction, whose effects are averaged.", least=1)
    seed: int = option(
        0, "Seed of the choice of recordings, the noise and the random deletions.", least=0, most=MAX_SEED
    )


@dataclass(frozen=True)
class Rhythm(Section):
    """Classification of whole recordings: labels, storage and inputs."""

    labels: Literal["v3", "v2", "v1"] = option(
        "v3", "Version of cinc2017's labels; v3 is the last of two revisions by its experts."
    )
    lead: str = option("ECG", "Lead to use; ECG is the only lead of cinc2017.")
    fallback_leads: tuple[str, ...] = option(
        ("I", "MLII", "II"), "Leads to use instead, in this order, for a recording without `lead`."
    )
    sampling_rate_hz: float = option(
        100.0, "Sampling rate of stored recordings in Hz; a third of the original rate of 300 Hz.", least=1
    )
    bandpass_hz: tuple[float, ...] = option(
        (0.5, 40.0),
        "Cut-off frequencies [low, high] in Hz of the zero-phase band-pass filter, which removes baseline wander and "
        "mains noise; empty leaves the signal unfiltered.",
        least=0,
    )
    chunk_size: int = option(64, "Recordings in one TFRecord file.", least=1)
    tfrecord_dir: str = option("rhythm_tfrecords", "Folder for the TFRecord files of recordings.")
    crop_seconds: float = option(
        30.72,
        "Length in seconds of a training crop, at a random position of a longer recording; rounded to a multiple of 64 "
        "samples, 3,072 by default.",
        least=0,
    )
    window_seconds: float = option(
        61.44, "Length in seconds of a scored crop; the longest recording of cinc2017 has 61 s.", least=0
    )
    crops: int = option(
        3,
        "Scored crops of a recording longer than window_seconds, whose probabilities are averaged; 1 scores its "
        "beginning alone.",
        least=1,
    )
    calibration_fraction: float = option(
        0.1,
        "Fraction of the training recordings held out to fit the softmax temperature, more than 0.",
        least=0,
        most=0.5,
    )
    stages: Literal[1, 2] = option(
        1, "1: one classifier; 2: a noise gate (noisy or not), then a classifier of the rhythm of the others."
    )
    augment: RhythmAugment = option(RhythmAugment, "Random augmentation of training recordings.")
    robustness: Robustness = option(Robustness, "Evaluation on disturbed test recordings, and occlusion maps.")


@dataclass(frozen=True)
class Architecture(Section, path="model.ensemble_members"):
    """A registered model and its hyperparameters."""

    name: str = option("cnn_conformer", "Registered name of the model; `ModelBuilder.MODELS` lists the classifiers.")
    options: dict = option(
        dict, "Hyperparameters that differ from the model's defaults; `weights` names a pretrained encoder."
    )


@dataclass(frozen=True)
class Model(Architecture, path="model"):
    """The model, and further members of an ensemble."""

    ensemble_members: tuple[Architecture, ...] = option(
        (),
        "Further architectures of a beat classifier's ensemble; the `training.ensemble_size` models alternate between "
        "the model and these.",
    )


@dataclass(frozen=True)
class Training(Section):
    """Optimization: AdamW, linear warm-up, cosine decay, no early stopping on held-out data."""

    epochs: int = option(8, "Passes over the training data; fixed in advance instead of early stopping.", least=1)
    learning_rate: float = option(1e-3, "Largest learning rate, reached after the warm-up.", least=SMALLEST)
    warmup_fraction: float = option(
        0.1,
        "Fraction of all steps in which the learning rate rises linearly; then it follows a cosine.",
        least=0,
        most=1,
    )
    weight_decay: float = option(0.01, "Decoupled weight decay of AdamW.", least=0, most=100)
    beta_2: float = option(
        0.999, "AdamW's decay of the second moment; 0.95 adapts faster where gradients change quickly.", least=0, most=1
    )
    clip_norm: float = option(
        1.0, "Largest norm of the gradient; larger gradients are scaled down to it.", least=SMALLEST
    )
    label_smoothing: float = option(
        0.0,
        "Probability that a classifier's targets distribute over all classes; for uncertain labels.",
        least=0,
        most=0.999,
    )
    class_weights: tuple[float, ...] = option(
        (1.0, 1.0, 1.0, 1.0, 1.0), "Weights of the classes N, S, V, F, Q (rhythm: N, A, O, ~) in the loss.", least=0
    )
    ema_momentum: float = option(
        0.0,
        "Momentum of the exponential moving average of the weights, which is the final model; 0 keeps the last.",
        least=0,
        most=1,
    )
    # The range of the next two depends on other settings; training checks it.
    ensemble_size: int = option(
        1, "Beat classifiers that are trained, each with another seed, and averaged; at least one of each architecture."
    )
    gradient_accumulation: int = option(
        1,
        "Batches whose mean gradient makes one step, from 1 to the batches of an epoch; gives a large batch where "
        "memory is limited.",
    )
    data_parallel: bool = option(False, "Whether each batch is divided among all devices; requires the JAX backend.")
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = option(
        "float32", "Precision of the computation; mixed precision is faster on a GPU."
    )
    jit_compile: bool = option(
        False, "Whether XLA compiles the training step: faster on a GPU, but compilation takes long on a CPU."
    )


@dataclass(frozen=True)
class Adaptation(Section):
    """Patient-specific fine-tuning of a trained beat classifier on the first minutes of a test record."""

    seconds: float = option(
        300.0,
        "Seconds at the beginning of each test record whose labels are used and whose beats are not scored; AAMI EC57 "
        "allows five minutes.",
        least=1,
    )
    steps: int = option(200, "Optimizer steps for each record.", least=1)
    batch_size: int = option(64, "Beats of the subject in a batch, and as many of the training set.", least=1)
    learning_rate: float = option(1e-3, "Largest learning rate, reached after the warm-up.", least=SMALLEST)


# The union over all objectives and protocols; each of them rejects, or does not compute, what it does not have.
Baseline = Literal[
    "random_init",
    "raw_signal",
    "rr_features",
    "scratch",
    "waveform",
    "hybrid",
    "labels_10",
    "labels_1",
    "lead_ii",
    "resnet1d",
    "resnet1d_hybrid",
    "resnet1d_labels_10",
    "resnet1d_labels_1",
    "intervals",
]


@dataclass(frozen=True)
class Finetuning(Section):
    """Training and evaluation of a pretrained encoder (`model.options.weights`) with labels."""

    protocol: Literal["inter_patient", "intra_patient", "subsampling", "split", "superclasses"] = option(
        "inter_patient",
        "Evaluation protocol: few labels of DS1, tested on DS2; few labels of beats drawn at random, the same subjects "
        "on both sides (optimistic, for comparison); repeated random sub-sampling of subjects; all labels of the "
        "configured split; diagnostic superclasses of PTB-XL.",
    )
    objective: Literal["probe", "finetune", "embed", "triplet"] = option(
        "probe",
        "probe: linear classifier on the frozen encoder; finetune: training of encoder and classifier; for "
        "superclasses also embed: embedding evaluation, and triplet: the same before and after training with the "
        "triplet loss.",
    )
    labels: tuple[int, ...] = option(
        (10, 25, 50, 100), "Numbers of labels, in total (intra_patient: for each class); 0 uses all.", least=0
    )
    seeds: tuple[int, ...] = option(
        tuple(range(10)),
        "Seeds of the repetitions: the draws of labels, or the trainings.",
        least=0,
        most=MAX_SEED,
        distinct=True,
    )
    subtract_record_median: bool = option(
        True,
        "Whether a probe's features are taken relative to the median over their record, which removes differences "
        "between subjects; transductive.",
    )
    keep_absolute_features: bool = option(
        False,
        "Whether a probe also gets the features without that subtraction; useful if the test subjects have labels.",
    )
    rr_features: bool = option(True, "Whether RR features are added to a probe's features.")
    normal_beats: int = option(
        12000, "N beats drawn by seed for a probe on `split`, which shortens the regression; 0 uses all.", least=0
    )
    baselines: tuple[Baseline, ...] = option(
        ("random_init", "raw_signal", "rr_features", "scratch"),
        "Baselines and variants to compare with. Probes: random_init (randomly initialised encoder), raw_signal, "
        "rr_features, scratch (the same network trained from scratch). Superclasses with finetune: scratch, waveform, "
        "hybrid, labels_10, labels_1 (10 % and 1 % of the labels), lead_ii, resnet1d, resnet1d_hybrid, "
        "resnet1d_labels_10, resnet1d_labels_1, intervals (gradient boosting).",
    )
    scratch_labels: tuple[int, ...] = option(
        (),
        "Numbers of labels for the baseline scratch, which is trained for each draw; empty means all of labels.",
        least=0,
    )
    compare_with: tuple[str, ...] = option(
        (), "Further pretrained encoders to evaluate on superclasses: presets or run folders."
    )
    pretrained_seeds: tuple[str, ...] = option(
        (), "Run folders of the same pretraining with other seeds, which add seeds to a probe on superclasses."
    )
    projection: int = option(
        0,
        "Width of a linear projection of the mean token, trained with the triplet loss; 0 uses the mean token.",
        least=0,
    )
    margin: float = option(0.2, "Margin of the triplet loss, in squared distance.", least=0)
    hybrid: bool = option(
        False,
        "Whether intervals and amplitudes are a second input of fine-tuning on superclasses; z-scored windows have "
        "lost the amplitude.",
    )
    test_fraction: float = option(
        0.2, "Fraction of the subjects for testing with `subsampling`, and the same for validation.", least=0, most=1
    )
    patience: int = option(
        10,
        "Epochs without improvement on validation data before training stops; unused without validation data.",
        least=0,
    )


@dataclass(frozen=True)
class Tracking(Section):
    """Monitoring of a pretraining, in addition to the training log history.csv of its run folder."""

    tensorboard: bool = option(False, "Whether TensorBoard event files are written to logs/ of the run folder.")
    wandb_project: str = option("", "Project of Weights & Biases to log to, if its package is installed; empty: none.")


@dataclass(frozen=True)
class Evaluation(Section):
    """Splits, seeds, baselines and confidence intervals."""

    split: Literal["ds1_ds2", "seed", "records"] = option(
        "ds1_ds2",
        "Training and test records: de Chazal's DS1 and DS2; the seven test records of the reference repository; or "
        "train_records and test_records.",
    )
    train_records: tuple[str, ...] = option((), "Training records of the split `records`.")
    test_records: tuple[str, ...] = option((), "Test records of the split `records`.")
    seeds: tuple[int, ...] = option(
        (0, 1, 2),
        "Seeds of the trainings of a held-out evaluation; three show the spread.",
        least=0,
        most=MAX_SEED,
        distinct=True,
    )
    kfold_seeds: tuple[int, ...] = option(
        (0,),
        "Seeds of the trainings of each fold; one is enough, because folds differ in their data as well.",
        least=0,
        most=MAX_SEED,
        distinct=True,
    )
    folds: int = option(5, "Number of folds, at most the number of subjects.", least=2)
    first_folds: int = option(
        0, "Folds of a recording-level k-fold that are run, to save time for a variant; 0 runs all.", least=0
    )
    fold_seed: int = option(0, "Seed of the assignment of subjects to folds.", least=0, most=MAX_SEED)
    exclude_records: tuple[str, ...] = option(
        ("102", "104", "107", "217"), "Records that k-fold leaves out: the paced ones, as AAMI EC57 recommends."
    )
    selected_on: tuple[str, ...] = option(
        (), "Records, or a description of the data, on which this configuration was chosen; stated in every report."
    )
    bootstrap: int = option(
        1000, "Bootstrap samples of subjects for 95 % confidence intervals; 0 computes none.", least=0
    )
    baselines: bool = option(
        True, "Whether baselines without a waveform are evaluated, such as boosting on RR features."
    )
    jobs: int = option(
        1, "Trainings at the same time, each in its own process; useful if one training leaves cores idle.", least=1
    )


@dataclass(frozen=True)
class Tuning(Section):
    """Hyperparameter search on the training subjects."""

    algorithm: Literal["hyperband", "bayesian", "random"] = option(
        "hyperband", "Search algorithm of KerasTuner; Hyperband stops poor trials early."
    )
    space: str = option(
        "configs/search_cnn_conformer.yaml", "YAML file of the search space: option names and their allowed values."
    )
    max_trials: int = option(12, "Largest number of trials (random and bayesian).", least=1)
    max_epochs: int = option(6, "Largest number of epochs of a trial.", least=1)
    validation_fraction: float = option(
        0.25, "Fraction of the training subjects on which trials are scored.", least=0.01, most=0.5
    )
    seed: int = option(0, "Seed of the search and of the choice of validation subjects.", least=0, most=MAX_SEED)
    directory: str = option("tuner_results", "Folder of the trials, from which an interrupted search resumes.")
    output: str = option("tuner_results/best.yaml", "YAML file that receives the best hyperparameters.")
    use_in_evaluations: bool = option(
        True, "Whether the pipeline merges the output into the configuration of its evaluations."
    )


@dataclass(frozen=True)
class Config(Section):
    """Everything that a result depends on."""

    title: str = option("MIT-BIH heartbeats", "Title of the reports.")
    task: Literal["beats", "rhythm"] = option(
        "beats", "Unit of classification: each beat, or the whole recording (rhythm)."
    )
    database: Database = option(Database, "Names of the input folder and of the output folders.")
    beats: Beats = option(Beats, "Segmentation of recordings into single-lead beats, and their wavelet transform.")
    sequences: Sequences = option(Sequences, "Sequences of consecutive beats, the training examples.")
    loader: Loader = option(Loader, "Shuffling, normalization and inputs of the training stream.")
    augment: Augment = option(Augment, "Random augmentation of training sequences.")
    windows: Windows = option(Windows, "Windows without labels for self-supervised pretraining.")
    rhythm: Rhythm = option(Rhythm, "Classification of whole recordings.")
    model: Model = option(Model, "The model, and further members of an ensemble.")
    training: Training = option(Training, "Optimizer, learning rate schedule and loss.")
    adaptation: Adaptation = option(Adaptation, "Patient-specific fine-tuning of a beat classifier.")
    finetuning: Finetuning = option(Finetuning, "Training and evaluation of a pretrained encoder with labels.")
    tracking: Tracking = option(Tracking, "Monitoring of a pretraining by TensorBoard or Weights & Biases.")
    evaluation: Evaluation = option(Evaluation, "Splits, seeds, baselines and confidence intervals.")
    tuning: Tuning = option(Tuning, "Hyperparameter search on the training subjects.")


# Keys of version 0.1 and their new names, by section, for the error message of an old key.
RENAMED = {
    Augment: {"foreign_rhythm": "rr_swapping"},
    Model: {"beside": "ensemble_members"},
    Training: {"members": "ensemble_size"},
    Evaluation: {"controls": "baselines"},
    Finetuning: {
        "controls": "baselines",
        "rhythm": "rr_features",
        "against": "compare_with",
        "replicas": "pretrained_seeds",
        "relative": "subtract_record_median",
        "absolute": "keep_absolute_features",
    },
    Robustness: {
        "pictured": "maps_drawn",
        "occluded": "occlusion_recordings",
        "deleted": "deletion_fractions",
        "draws": "random_draws",
        "stretch_seconds": "occlusion_seconds",
    },
}


def _name(kind: Any) -> str:
    return getattr(kind, "__name__", str(kind)) if get_origin(kind) is None else str(kind).replace("typing.", "")


def _convert(value: Any, kind: Any, where: str) -> Any:
    """Convert `value` to the annotated type `kind`.

    Raises:
        InputError: the value is not of that type; `where` names the option.
    """
    if dataclasses.is_dataclass(kind):
        return from_dict(kind, value, where)
    origin = get_origin(kind)
    if origin is Literal:
        if value in get_args(kind):
            return value
        raise InputError(where, repr(value), f"one of {', '.join(map(repr, get_args(kind)))}", "correct it")
    if origin in (typing.Union, types.UnionType):
        for member in get_args(kind):
            if value is None and member is type(None):
                return None
            if member is not type(None) and value is not None:
                return _convert(value, member, where)
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(_convert(v, get_args(kind)[0], f"{where}[{i}]") for i, v in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return dict(value)
    if kind is float and isinstance(value, str) and NUMBER.fullmatch(value):
        return float(value)  # YAML 1.1 reads 1e-3 as a string
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if kind is str and isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # YAML reads the record name 100 as a number
    if isinstance(kind, type) and isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise InputError(where, f"{value!r}", f"a value of type {_name(kind)}", "correct it")


def from_dict(cls: type, values: Any, where: str = "config") -> Any:
    """Build the dataclass `cls` from a plain dict.

    Raises:
        InputError: an unknown key (the message names the nearest known key), or a value of another type or out of
            range.
    """
    if dataclasses.is_dataclass(values) and isinstance(values, cls):
        return values
    if not isinstance(values, dict):
        raise InputError(where, repr(values), "a mapping of keys to values", "correct it")
    kinds = typing.get_type_hints(cls)
    known = {f.name for f in dataclasses.fields(cls)}
    for key in values:
        if new := RENAMED.get(cls, {}).get(key):
            raise InputError(where, f"key {key!r} of version 0.1", repr(new), f"rename it to {new!r}")
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1, 0)
            expected = f"one of {', '.join(sorted(known))}"
            raise InputError(where, f"unknown key {key!r}", expected, f"did you mean {near[0]!r}?")
    return cls(**{key: _convert(value, kinds[key], f"{where}.{key}") for key, value in values.items()})


def to_dict(config: Any) -> dict:
    """Convert a dataclass to a plain dict, with lists for tuples: the inverse of `from_dict`."""
    return {f.name: _plain(getattr(config, f.name)) for f in dataclasses.fields(config)}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return to_dict(value) if dataclasses.is_dataclass(value) else value


def read_yaml(path: Path | str) -> dict:
    """Read a YAML file that contains a mapping, or a shipped configuration by its name (`resources.find_config`).

    Raises:
        InputError: no such file, or not a YAML mapping.
    """
    path = find_config(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(path, " ".join(str(error).split()), "YAML", "correct it") from None
    if values is not None and not isinstance(values, dict):
        raise InputError(path, type(values).__name__, "a mapping of keys to values", "correct it")
    return values or {}


def merge(base: dict, extra: dict) -> dict:
    """Return `base` updated with the values of `extra`, recursively for nested mappings."""
    out = dict(base)
    for key, value in extra.items():
        out[key] = merge(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else value
    return out


def with_override(values: dict, text: str) -> dict:
    """Return `values` updated with one command-line setting `section.key=value`, whose value is YAML."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InputError("--set", repr(text), "section.key=value", "for example --set training.epochs=3")
    try:
        nested: Any = yaml.safe_load(value)
    except yaml.YAMLError:
        raise InputError("--set", repr(text), "a YAML value", "quote it") from None
    for part in reversed(name.split(".")):
        nested = {part: nested}
    return merge(values, nested)


def load_config(
    paths: Path | str | Sequence[Path | str] = (), overrides: Sequence[str] = (), base: Config | None = None
) -> Config:
    """Load a configuration.

    Args:
        paths: YAML files; the values of later files replace those of earlier ones.
        overrides: settings `section.key=value`, which replace the values of the files.
        base: the configuration to start from; by default the default values.

    Raises:
        InputError: a missing file, an unknown key, or a value of another type or out of range.
    """
    paths = [paths] if isinstance(paths, (str, Path)) else list(paths)
    values: dict = to_dict(base) if base else {}
    for path in paths:
        layer = read_yaml(path)
        from_dict(Config, layer, str(path))  # so that an error names the file
        values = merge(values, layer)
    for text in overrides:
        values = with_override(values, text)
    return _with_bundled_data(from_dict(Config, values, "--set" if overrides else "config"))


def _with_bundled_data(config: Config) -> Config:
    """The configuration with the bundled recordings in place of a folder `sample_data` that is not here."""
    database = dataclasses.replace(config.database, data_dir=find_data(config.database.data_dir))
    sources = tuple(dataclasses.replace(source, folder=find_data(source.folder)) for source in config.windows.sources)
    return dataclasses.replace(config, database=database, windows=dataclasses.replace(config.windows, sources=sources))


def as_config(config: Config | dict | None) -> Config:
    """Return a Config, built from a plain dict or the defaults if necessary."""
    return config if isinstance(config, Config) else from_dict(Config, config or {})
