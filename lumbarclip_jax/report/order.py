"""The order of the page: metrics.json is sorted by name, which a reader would find arbitrary."""

import re
from collections.abc import Mapping

from lumbarclip_jax.data.tasks import ANY_FINDING, FINDINGS, MAIN, TASKS
from lumbarclip_jax.evaluators import EVALUATORS
from lumbarclip_jax.evaluators.names import BESIDE, Name, path_part
from lumbarclip_jax.report.tables import SHARE

PATHS = (
    *("image_to_text", "text_to_image", "patient_to_text", "text_to_patient"),
    *("negated", "omitted", "omitted_then_negated", "level_swap", "side_swap"),
    *(ANY_FINDING.name, *MAIN, "findings", *FINDINGS),
)
MEASURES = (
    *("precision_at_1", "precision_at_5", "precision_at_10"),
    *("recall_at_1", "recall_at_5", "recall_at_10", "median_rank", "mrr", "map_shared_findings"),
    *("images", "studies", "patients", "positives", "prevalence"),
    *(SHARE + path_part(name) for task in TASKS.values() for name in task.classes),
    *("auroc", "auroc_within_level", "auroc_gain_over_level", "average_precision"),
    *("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "quadratic_kappa"),
    *("other_images_accuracy", "accuracy_gain_over_other_images"),
    *("text_only_accuracy", "accuracy_gain_over_text_only", "ties"),
    *("ece", "ece_calibrated", "adaptive_ece", "adaptive_ece_calibrated"),
    *("nll", "nll_calibrated", "brier", "brier_calibrated"),
)


def ordered(metrics: Mapping[str, float]) -> dict[str, float]:
    """The same metrics as they are to be read; names not known here follow, in natural order."""
    return dict(sorted(metrics.items(), key=lambda item: _place(item[0])))


def _place(name: str) -> tuple:
    called = Name.of_number(name)
    if called is None:
        return ()
    measure = called.measure
    for suffix in BESIDE:
        measure = measure.removesuffix(suffix)
    return (
        _natural(called.split),
        _known(called.evaluator, tuple(EVALUATORS)),
        *(_known(part, PATHS) for part in called.path),
        # A path that ends here, at its measures, comes before one that goes on.
        (-1,),
        _known(measure, MEASURES),
    )


def _known(name: str, order: tuple[str, ...]) -> tuple:
    return (order.index(name),) if name in order else (len(order), _natural(name))


def _natural(name: str) -> tuple:
    """`k_2` before `k_16`."""
    return tuple(
        (int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)
    )
