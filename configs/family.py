"""The ablation of what the family of methods adds to plain CLIP, an arm a run file.

An arm is the one it extends and one thing more. `base` is plain CLIP of one image and one report on
a ResNet. After CXR-CLIP (arXiv 2310.13292) it is extended, one by one, by a second disc and second
text of the study, contrast among the images, contrast among the texts, labels put into words and a
second data set; after multi-task retrieval (arXiv 2601.05399) by supervised contrast, and by
classification, each alone. The labels are of the whole patient, since a study's images show several
discs. Beside these, `study` is the base on three discs of a study as one image embedding, pooled by
attention: compare it with the base by study, --config.eval.unit=study.

Every arm reads data/lumbar, so its numbers on the patients of that are `test@lumbar/...`; the
README and docs/results/family/README.md have the commands that build both data sets.
"""

from configs import base

LUMBAR, SPIDER = ("data/lumbar", 3.0), ("data/spider", 1.0)
PATIENT_TASK = "patient_displacement"
# Of the reports the first two, of SPIDER's gradings the others.
IN_WORDS = ("patient_displacement", "disc_degeneration", "herniation", "narrowing", "bulging")


def base_arm(name: str, size: str):
    config = base.get_config()
    config.name = name
    config.data.dirs = (LUMBAR,)
    config.data.level_prefix = False
    config.model.image_encoder.update(name="resnet", variant="50", pooling="mean")
    config.objective.soft_clip.weight = 0.0
    config.objective.clip.weight = 1.0
    config.eval.at_the_end = ("retrieval", "zero_shot", "linear_probe")
    base.resize(config, size)
    if size == "quick":
        config.model.image_encoder.variant = "XS"
    return config


def views(name: str, size: str):
    config = base_arm(name, size)
    config.data.image_views = config.data.text_views = 2
    config.data.other_images = ("level",)
    return config


def icl(name: str, size: str):
    config = views(name, size)
    config.objective.icl.weight = 1.0
    return config


def tcl(name: str, size: str):
    config = icl(name, size)
    config.objective.tcl.weight = 0.5
    return config


def prompts(name: str, size: str):
    config = tcl(name, size)
    config.data.prompts.update(tasks=IN_WORDS[:2], share=0.3)
    return config


def second_data_set(name: str, size: str):
    config = prompts(name, size)
    config.data.prompts.tasks = IN_WORDS
    config.data.dirs = (LUMBAR, SPIDER)
    return config


def sup_con(name: str, size: str):
    config = base_arm(name, size)
    config.objective.sup_con.update(weight=1.0, task=PATIENT_TASK)
    return config


def labels(name: str, size: str):
    config = base_arm(name, size)
    config.objective.labels.update(weight=1.0, tasks=(PATIENT_TASK,))
    return config


def study(name: str, size: str):
    config = base_arm(name, size)
    config.data.image_views = 3
    config.data.other_images = ("level",)
    config.model.study_pooling = "attention"
    return config
