"""Measuring a trained model, one evaluator a question.

The contract, after big_vision's: an evaluator is a class built as

    evaluator = evaluator_class(name)(embedder, split="test", **options)

whose `run(state)` returns its numbers by name, and what it kept of the rows behind them, by name
too (`predictions_file.Kept`). The training loop knows nothing else about it. Names read
`<split>/<evaluator>/<what>`, see `names`; beside a number `<name>` stand `<name>_ci_low` and
`<name>_ci_high`, its 95 % interval over patients (see `bootstrap`, `intervals`), `<name>_chance`,
what a model that looks at nothing would reach, and for classification `<name>_level_only`, what one
reaches who knows the disc level alone. A task that cannot be measured on a split (no labels, one
class) is skipped; its counts show why, and one warning of the evaluator names all of them.

`embedder` is the only way to the model and the data: `embedder(state, split)` gives the split's
embeddings, texts and labels, `embedder.columns(split)` texts and labels without encoding anything,
`embedder.encode_text(state, texts)` embeds other text, or gives its features, which are comparable
with those of images where `embedder.has_shared_features`, `embedder.logit_scale(state)` is the log
of 1 / temperature, `embedder.label_probabilities(state, split)` what `embedder.heads` say of
tasks, `embedder.level_prefix` says whether texts begin with a disc level, and
`embedder.splits` names the splits there are, and `embedder.images` and `embedder.changed` give and
change pixels. All but `embedder` is numpy on the host. A row is an image or, where `embedder.unit`
is "study", all images of one, see `study_embedder`: an evaluator need not know.

Whatever is fitted sees the train and validation splits alone. Probes are fitted before the measured
split is opened, where the evaluator need not look there first for what to fit: robustness for the
tasks that it can measure, cross-sequence for the sequences.
"""

import importlib

# Each is a class in the module of its name.
EVALUATORS = {
    "retrieval": "Retrieval",
    "zero_shot": "ZeroShot",
    "zero_shot_features": "ZeroShotFeatures",
    "linear_probe": "LinearProbe",
    "few_shot": "FewShot",
    "label_heads": "LabelHeads",
    "robustness": "Robustness",
    "cross_sequence": "CrossSequence",
    "class_retrieval": "ClassRetrieval",
    "alignment": "Alignment",
}

# Run where nothing else is asked for; the others embed the split many times, or need data that few
# data sets have, or features that few models have, or find thousands of numbers.
STANDARD = ("retrieval", "zero_shot", "linear_probe", "few_shot")


# What a row of a measured split is: `config.eval.unit`.
UNITS = ("auto", "image", "study")


def unit_of(config) -> str:
    """What a run is measured by, "image" or "study": auto is study where its model pools them."""
    unit = config.eval.unit
    if unit == "auto":
        return "study" if config.model.study_pooling else "image"
    return unit


def evaluator_class(name: str) -> type:
    """The class of an evaluator, which is imported where it is used: a command's flags need names.

    Raises:
      ValueError: there is none of this name.
    """
    if name not in EVALUATORS:
        raise ValueError(f"there is no evaluator {name}: choose from {', '.join(EVALUATORS)}")
    return getattr(importlib.import_module(f"{__name__}.{name}"), EVALUATORS[name])
