"""One row per metric of metrics.json: name, title, unit, format, direction and explanation.

Evaluators, reports, the index of runs and the documentation read titles and formats from here and nowhere else.

    metric("model.classes.S.f1.mean").title         # "F1 S"
    explain("model.classes.S.f1.low")                # its explanation, with what `low` means
    format_value("classes.S.f1", 0.70613)            # "0.706"
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

KINDS = ("beats", "rhythm", "superclasses", "few_labels", "embeddings", "masked", "predictive", "quantized",
         "contrastive")  # fmt: skip
CLASS_TITLES = {"~": "noisy"}  # in titles of metrics; every other class is its own title

HIGHER, LOWER, NEUTRAL = "higher", "lower", ""


@dataclass(frozen=True)
class Metric:
    """One metric or one set of metrics, such as `classes.*.f1`, whose `*` stands for a class, a table or a database.

    Attributes:
        name: dotted name in metrics.json, below a section (`model`, `baselines.NAME`, ...) and without a statistic
            (`mean`, `low`, ...).
        title: heading in tables and charts; `{}` is replaced by what `*` stands for.
        unit: of the value; empty for a number without one.
        format: format specification of the value; empty where it is not a single number.
        direction: "higher" or "lower" where that is better, else empty.
        explanation: one sentence in the field's terms.
    """

    name: str
    title: str
    unit: str
    format: str
    direction: str
    explanation: str


def _score(name: str, title: str, explanation: str, direction: str = HIGHER, form: str = ".3f") -> Metric:
    return Metric(name, title, "", form, direction, explanation)


def _count(name: str, title: str, unit: str, explanation: str) -> Metric:
    return Metric(name, title, unit, ",", NEUTRAL, explanation)


def _fact(name: str, title: str, explanation: str) -> Metric:
    return Metric(name, title, "", "", NEUTRAL, explanation)


METRICS = (
    # What was evaluated.
    _fact("format", "format", "Version of the layout of metrics.json."),
    _fact("kind", "kind of run", f"Which evaluator computed the metrics: {', '.join(KINDS)}."),
    _count("bootstrap.resamples", "bootstrap resamples", "resamples", "Bootstrap resamples behind every 95 % CI."),
    _fact("bootstrap.seed", "bootstrap seed", "Random seed of the bootstrap."),
    _fact("alarms", "alarms", "Failed checks: a collapsed predictor, or no significant advantage over a baseline."),
    _count("beats", "beats", "beats", "Annotated beats that are scored."),
    _count("records", "records", "records", "Records with scored beats."),
    _count("recordings", "recordings", "recordings", "Recordings that are scored."),
    _count("windows", "windows", "windows", "Windows of held-out subjects that are scored."),
    _count("subjects", "subjects", "subjects", "Subjects among the scored records or windows."),
    _count("abnormal", "abnormal beats", "beats", "Scored beats that are not of class N."),
    _count("class_counts.*", "{}", "examples", "Scored examples whose true class is this one."),
    _fact("seeds", "seeds", "Random seeds of the trained models; a metric is the mean over the single models."),
    _fact("seed", "seed", "Random seed of one trained model."),
    _fact("record", "record", "Name of a record that is scored alone, or left out."),
    _fact("fold", "fold", "Test fold of the cross-validation."),
    # Classification of beats and recordings.
    _score("accuracy", "accuracy", "Fraction of correctly classified examples."),
    _score("balanced_accuracy", "balanced accuracy", "Mean sensitivity over the classes that occur."),
    _score("macro_f1_nsvf", "macro-F1 (N S V F)", "Mean F1 of the classes N, S, V and F; a class that neither occurs "
           "nor is predicted counts as 0."),
    _score("macro_f1_five", "macro-F1 (5 classes)", "Mean F1 of the five AAMI classes N, S, V, F and Q; a class that "
           "neither occurs nor is predicted counts as 0."),
    _score("macro_f1_four", "macro-F1 (4 classes)", "Mean F1 of normal rhythm, atrial fibrillation, other rhythm and "
           "noisy recordings."),
    _score("macro_f1", "macro-F1 (classes present)", "Mean F1 of the classes that occur among the true labels."),
    _score("score", "challenge score", "Score of the PhysioNet/CinC Challenge 2017: mean F1 of normal rhythm (N), "
           "atrial fibrillation (A) and other rhythm (O)."),
    _score("kappa", "Cohen's κ", "Cohen's kappa: agreement corrected for chance."),
    _score("j_index", "j index", "Sum of the sensitivities and positive predictivities of S and V, from 0 to 4."),
    _score("jk_index", "jκ index", "The jκ index κ / 2 + j / 8 (Mar 2011, Mondejar-Guerra 2019), κ over five classes."),
    _score("macro_auroc", "macro AUROC", "Mean over classes of the area under the one-vs-rest ROC curve."),
    _score("ece", "ECE", "Expected calibration error: mean absolute difference between confidence and accuracy over "
           "15 bins of the top-label confidence; after temperature scaling where a temperature was fitted.", LOWER),
    _score("ece_before", "ECE before temperature scaling", "Expected calibration error of the probabilities before "
           "temperature scaling.", LOWER),
    Metric("temperature", "temperature", "", ".2f", NEUTRAL, "Divisor of the logits, fitted on training recordings "
           "held out for it."),
    _score("classes.*.sensitivity", "sensitivity {}", "Fraction of the examples of this class that are classified as "
           "it (recall)."),
    _score("classes.*.positive_predictivity", "positive predictivity {}", "Fraction of the examples classified as "
           "this class that are of it (precision)."),
    _score("classes.*.f1", "F1 {}", "Harmonic mean of sensitivity and positive predictivity of the class."),
    _score("classes.*.auroc", "AUROC {}", "Area under the ROC curve of the class against all others."),
    _score("classes.*.average_precision", "average precision {}", "Area under the precision-recall curve of the class "
           "against all others, as a step function."),
    _count("ec57.*.tp", "TP {}", "beats", "True positives of the ectopic-beat detection, mean over seeds."),
    _count("ec57.*.fn", "FN {}", "beats", "False negatives of the ectopic-beat detection, mean over seeds."),
    _count("ec57.*.fp", "FP {}", "beats", "False positives, mean over seeds; F and Q beats classified as V do not "
           "count against VEB, nor Q beats classified as S against SVEB (ANSI/AAMI EC57)."),
    _count("ec57.*.tn", "TN {}", "beats", "True negatives of the ectopic-beat detection, mean over seeds."),
    _score("ec57.*.sensitivity", "{} Se", "Gross sensitivity TP / (TP + FN) by ANSI/AAMI EC57."),
    _score("ec57.*.positive_predictivity", "{} +P", "Gross positive predictivity TP / (TP + FP) by ANSI/AAMI EC57."),
    _score("ec57.*.false_positive_rate", "{} FPR", "False positive rate FP / (FP + TN) by ANSI/AAMI EC57.", LOWER,
           ".4f"),
    _count("collapse.predicted_classes", "predicted classes", "classes", "Classes that are predicted at least once, "
           "the fewest over seeds."),
    Metric("collapse.largest_share", "largest predicted class", "", ".1%", NEUTRAL, "Fraction of the examples that "
           "take the most frequent prediction, the largest over seeds."),
    _fact("collapse.constant", "constant predictor", "Whether a seed gives every example the same probabilities."),
    _fact("collapse.collapsed", "collapsed predictor", "Whether a seed classifies every example as one class; such a "
          "model detects nothing, whatever its accuracy."),
    _fact("confusion.mean", "confusion matrix", "Examples of the true class (row) classified as the predicted class "
          "(column), mean over seeds."),
    _fact("confusion.row_share", "confusion matrix, normalized", "The confusion matrix, each row divided by its sum."),
    _fact("calibration.*.count", "predictions per bin, {} scaling", "Predictions of all seeds per confidence bin, "
          "before or after temperature scaling."),
    _fact("calibration.*.confidence", "confidence per bin, {} scaling", "Mean top-label confidence of the bin."),
    _fact("calibration.*.accuracy", "accuracy per bin, {} scaling", "Fraction of correct predictions in the bin."),
    _fact("calibration.count", "predictions per bin", "Predictions of all seeds per confidence bin."),
    _fact("calibration.confidence", "confidence per bin", "Mean top-label confidence of the bin."),
    _fact("calibration.accuracy", "accuracy per bin", "Fraction of correct predictions in the bin."),
    # Robustness of rhythm classification.
    _count("robustness.recordings", "recordings", "recordings", "Test recordings that are disturbed."),
    _fact("robustness.source", "noise source", "Where the added noise comes from."),
    _fact("robustness.conditions.disturbance", "disturbance", "What was done to the test recordings."),
    _fact("robustness.conditions.strength", "strength", "Signal-to-noise ratio in dB, or sampling rate in Hz."),
    _score("robustness.conditions.score", "challenge score", "Challenge score on the disturbed recordings."),
    _score("robustness.conditions.classes.*.f1", "F1 {}", "F1 of the class on the disturbed recordings."),
    _score("robustness.conditions.predicted.*", "classified as {}", "Fraction of the disturbed recordings classified "
           "as this class.", NEUTRAL),
    _count("deletion.recordings", "recordings", "recordings", "Test recordings of the deletion test."),
    Metric("deletion.shares.share", "deleted", "", ".0%", NEUTRAL, "Fraction of the recording that is deleted."),
    _score("deletion.shares.mapped", "deleted by importance", "Mean drop of the predicted probability when the most "
           "important segments of the occlusion map are deleted."),
    _score("deletion.shares.random", "deleted at random", "Mean drop of the predicted probability when random "
           "segments are deleted.", NEUTRAL),
    _score("deletion.shares", "importance minus random", "Drop by importance minus drop at random; positive if the "
           "prediction depends on the segments that the occlusion map marks."),
    # Few labels: binary normal/abnormal classification by number of labels.
    _score("labels.*.accuracy", "accuracy", "Fraction of beats correctly classified as normal or abnormal with this "
           "number of training labels."),
    _score("labels.*.macro_f1", "macro-F1", "Mean F1 of normal and abnormal beats with this number of labels."),
    _score("labels.*.auroc", "AUROC", "Area under the ROC curve of abnormal against normal beats; ties count half."),
    Metric("labels.*.largest_share", "largest predicted class", "", ".1%", NEUTRAL, "Fraction of the beats that take "
           "the most frequent prediction, the largest over draws of labels."),
    # Self-supervised pretraining, on windows of held-out subjects.
    _score("relative_loss", "normalized validation loss", "Validation loss divided by that of a trivial prediction: "
           "the mean of each lead of the window, or log N for a contrastive loss. At 1 nothing is learned.", LOWER),
    _score("databases.*", "normalized validation loss, {}", "Normalized validation loss on one database.", LOWER),
    _score("masked_loss", "masked MSE", "Mean squared error on the masked patches.", LOWER, ".4f"),
    _score("jepa_loss", "latent prediction loss", "Smooth L1 loss between predicted and target tokens at masked "
           "positions.", LOWER, ".4f"),
    _score("reconstruction_loss", "reconstruction MSE", "Mean squared error of windows decoded from code indices.",
           LOWER, ".4f"),
    _score("contrastive_loss", "contrastive loss", "Mean contrastive loss over batches.", LOWER),
    _score("log_n", "log N", "Contrastive loss at chance: logarithm of the number of candidates for a positive.",
           NEUTRAL),
    _score("r2", "R²", "Fraction of the variance, each lead about its own mean, that the reconstruction explains."),
    _count("codes", "codebook size", "codes", "Codes in the codebook."),
    Metric("usage", "codes used", "", ".0%", HIGHER, "Fraction of the codes that at least one window uses."),
    Metric("perplexity", "codebook perplexity", "codes", ".0f", HIGHER, "Exponential of the entropy of code usage: "
           "how many equally used codes would be as diverse."),
    Metric("effective_rank", "effective rank", "dimensions", ".1f", HIGHER, "Exponential of the entropy of the "
           "normalized singular values of the embeddings (RankMe); 1 where they have collapsed."),
    _count("dimensions", "embedding width", "dimensions", "Width of the embeddings, the upper limit of the effective "
           "rank."),
    # Evaluation of frozen embeddings.
    _score("linear_auroc", "linear probe, macro AUROC", "Macro AUROC of a logistic regression on the mean token."),
    _score("attentive_auroc", "attentive probe, macro AUROC", "Macro AUROC of a probe with learned attention over the "
           "frozen encoder's tokens."),
    _score("neighbours_auroc", "k-NN, macro AUROC", "Macro AUROC of k-nearest-neighbour classification: fraction of "
           "the 20 nearest training recordings (cosine) with the class."),
    _count("classes.recordings", "recordings with one superclass", "recordings", "Scored recordings with exactly one "
           "superclass: those used for clustering and separation."),
    _score("classes.nmi", "NMI", "Normalized mutual information of k-means clusters and superclasses."),
    _score("classes.ari", "ARI", "Adjusted Rand index of k-means clusters and superclasses; 0 is chance."),
    _score("classes.silhouette", "silhouette", "Silhouette coefficient of the superclasses, -1 to 1."),
    _score("classes.davies_bouldin", "Davies-Bouldin", "Davies-Bouldin index of the superclasses: within-class spread "
           "over between-class distance.", LOWER),
    _score("classes.calinski_harabasz", "Calinski-Harabasz", "Calinski-Harabasz index of the superclasses: "
           "between-class over within-class dispersion.", HIGHER, ".1f"),
    _count("patients.count", "patients with several recordings", "patients", "Patients with more than one recording, "
           "in any fold."),
    _score("patients.nmi", "NMI, patients", "NMI of k-means clusters and patients: whether the embeddings identify "
           "the patient.", NEUTRAL),
    _score("patients.ari", "ARI, patients", "Adjusted Rand index of k-means clusters and patients.", NEUTRAL),
    _score("patients.silhouette", "silhouette, patients", "Silhouette coefficient of the patients.", NEUTRAL),
    _score("patients.davies_bouldin", "Davies-Bouldin, patients", "Davies-Bouldin index of the patients.", NEUTRAL),
    _score("patients.calinski_harabasz", "Calinski-Harabasz, patients", "Calinski-Harabasz index of the patients.",
           NEUTRAL, ".1f"),
)  # fmt: skip

EXPLANATIONS = {row.name: row.explanation for row in METRICS}
# In whatever section, and what `*` stands for.
PATTERNS = [
    # A name at the end may contain dots, as that of a database may.
    (row, re.compile(r"(?:.*\.)?" + re.sub(r"\\\*$", "(.+)", re.escape(row.name)).replace(r"\*", "([^.]+)")))
    for row in METRICS
]

STATISTICS = {
    "mean": "mean over seeds of the single models' values",
    "sd": "standard deviation over seeds; undefined with one seed",
    "low": "lower end of the 95 % CI, by bootstrap over subjects",
    "high": "upper end of the 95 % CI, by bootstrap over subjects",
    "per_seed": "value of each seed",
    "difference": "model minus baseline",
    "excludes_zero": "whether the 95 % CI of the paired difference, over the same resampled subjects, excludes 0",
    "lower_is_better": "present if lower values of the metric are better",
    "fold_mean": "mean over folds",
    "fold_sd": "standard deviation over folds",
    "min": "minimum over folds",
    "max": "maximum over folds",
}

SECTIONS = {
    "model": "the evaluated model",
    "baselines": "other methods, scored on the same examples",
    "differences": "paired differences between the model and each baseline",
    "ensemble": "one predictor that averages the probabilities of all seeds",
    "per_seed": "each trained model",
    "per_record": "each record alone",
    "without_record": "all records but one",
    "without_202": "all records but 202, whose subject is also that of training record 201",
    "without_q": "without the beats of true class Q",
    "folds": "each test fold alone",
    "fold_spread": "statistics over the test folds",
}

# What the normalized validation loss of a pretraining is divided by, by the kind of run.
REFERENCES = {
    "masked": "the loss of predicting the mean of each lead of the window",
    "quantized": "the loss of predicting the mean of each lead of the window",
    "predictive": "the loss of predicting each lead's mean target",
    "contrastive": "log N, the loss at chance",
}


@cache
def metric(name: str) -> Metric:
    """The row of a dotted name of metrics.json, in whatever section and with whatever statistic, its title filled in.

    Raises:
        KeyError: the schema has no such metric.
    """
    base, _, statistic = name.rpartition(".")
    for candidate in (name, base) if statistic in STATISTICS else (name,):
        found = [(row, match) for row, pattern in PATTERNS if (match := pattern.fullmatch(candidate))]
        if found:  # the longest name is the most specific: `labels.*.accuracy` before `accuracy`
            row, match = max(found, key=lambda pair: len(pair[0].name))
            return replace(row, title=row.title.format(*(CLASS_TITLES.get(g, g) for g in match.groups())))
    raise KeyError(name)


def title(name: str) -> str:
    """Heading of a metric; `↓` marks one of which less is better."""
    row = metric(name)
    return row.title + (" ↓" if row.direction == LOWER else "")


def explain(name: str) -> str:
    """The line that explains a dotted name of metrics.json, in whatever section.

    Raises:
        KeyError: the schema has no such metric.
    """
    row, statistic = metric(name), name.rpartition(".")[2]
    if statistic in STATISTICS and not row.name.endswith(f".{statistic}"):
        return f"{row.explanation} ({STATISTICS[statistic]})"
    return row.explanation


def format_value(name: str, value: float | None) -> str:
    """A value of a metric as text; a dash where it is undefined."""
    if value is None:
        return "–"
    form = metric(name).format
    if form == ",":
        form = ",.0f" if value == round(value) else ",.1f"  # a mean of counts keeps one decimal
    return format(value, form) if form else str(value)


def best_of(name: str, means: Mapping[str, float | None]) -> tuple[str, float] | None:
    """Return the key and value of the best of several means of a metric; None if all are undefined.

    Args:
        name: dotted name of the metric, whose direction decides.
        means: mean by key; None for an undefined one.
    """
    found = {key: mean for key, mean in means.items() if mean is not None}
    if not found:
        return None
    best = (min if metric(name).direction == LOWER else max)(found, key=found.__getitem__)
    return best, found[best]
