"""Every field of a run: its default, its unit and what it does, once.

A run file starts from `get_config()` and overrides what it needs; the command line overrides the
run file (`--config.optim.lr=3e-4`). The config is locked, so an unknown field is an error.
"""

import math

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.name = "base"  # shown in logs and in the report
    config.seed = 0  # seeds parameters, data order, augmentation and dropout
    config.total_steps = 5_000  # optimizer steps
    config.dtype = "auto"  # compute type: auto (bfloat16 on accelerators, float32 on CPU), or named

    config.data = data = ConfigDict()
    data.dir = ""  # folder written by data_prep.build; empty = the embedded phantom
    # Several data sets in place of one: (folder, how often it is trained on relative to others),
    # such as (("data/lumbar", 2.0), ("data/spider", 1.0)). The vocabulary is that of the first.
    data.dirs = ()
    # All pairs of a batch come from one of several data sets. False = batches mix them by weight,
    # and pairs can then be told apart by scanner, plane and style, without a look at the disc.
    data.one_data_set_a_batch = True
    # "" = the splits of the data set; fold_2_of_5 = a fold by patient, its test split the second of
    # five; leaky = images dealt out without a look at the patient, to show what that would claim.
    data.resplit = ""
    # Read all shards before the first step and compare their sha256; False = their sizes alone.
    data.check_shards = True
    data.phantom_patients = 400  # patients of the embedded phantom
    data.phantom_difficulty = 0.2  # 0 (clean) to 1 (noisy, subtle findings)
    data.global_batch_size = 32  # pairs per optimizer step, over all devices and processes
    data.image_size_px = 224  # side of the square the encoder sees
    data.crop_px = 224  # side of the central square cut from the stored image, before resizing
    data.max_tokens = 128  # reports are cut to this length, [CLS] and [SEP] included
    data.lowercase = True  # of texts, before tokenizing; a pretrained text encoder has its own rule
    # Lengths below max_tokens that reports are also padded to, such as (32, 64): a batch then holds
    # reports of one of these lengths, and a step is compiled for each. () = all to max_tokens.
    data.token_buckets = ()
    data.level_prefix = True  # put the slice's disc level before the report, "L4-L5 : ..."
    data.one_level_a_batch = True  # all pairs of a batch show one disc level, see data/pipeline.py
    # Probability that a training text keeps a sentence: 1.0 = all, 0.0 = one is drawn.
    data.keep_sentence = 0.7
    # V, images that a pair is trained with; a contrastive loss is the mean over them.
    data.image_views = 1
    # What the second and further ones are drawn from, of the same study: same (the image augmented
    # anew) | neighbour (another slice of its level and sequence) | sequence (its level in another)
    # | level (another level of its sequence) | plane (axial beside sagittal). Where a study has
    # none of them it is the same image.
    data.other_images = ("same",)
    # W, texts that a pair is trained with; a contrastive loss is the mean over them.
    data.text_views = 1
    # Draw these from all texts of a record, as of its report alone; where a data set has more.
    data.further_texts = True
    # Every view draws text and sentences anew; False = they are those of the first, perturbed.
    data.redraw_text = True
    data.read_threads = 2  # that make batches, of each process
    # That make batches; 0 = threads of the run itself, enough for one GPU and not for eight.
    data.read_processes = 0
    data.prefetch_batches = 4  # kept ready on the host, by each process

    data.augment = augment = ConfigDict()  # training images only, on the device
    augment.scale = 0.1  # zoom drawn from 1 - scale .. 1 + scale
    augment.scale_up = placeholder(float)  # zoom drawn from 1 - scale .. 1 + scale_up; None = scale
    augment.translate = 0.05  # shift drawn from -translate .. translate, in crop sides
    augment.rotate_deg = 0.0  # turn about the centre, drawn from -rotate_deg .. rotate_deg
    augment.gamma = 0.2  # intensity exponent drawn from 1 - gamma .. 1 + gamma
    # Factor of the grey values, and of their distances from their mean, drawn from 1 - x .. 1 + x.
    # Each image is standardised after it, so what is left of both is what they clip.
    augment.brightness = 0.0
    augment.contrast = 0.0
    augment.noise = 0.02  # standard deviation of added noise, in units of the full grey range
    augment.mirror = False  # left-right mirroring; reports name sides, so off unless they do not

    # Of training texts, of several views all but the first; lumbarclip_jax/data/perturbations.py.
    data.perturb = perturb = ConfigDict()
    perturb.synonyms = 0.0  # probability that a phrase of the table is replaced
    perturb.swap = 0.0  # probability that a word changes places with another of its sentence
    perturb.delete = 0.0  # probability that a word is deleted
    perturb.one_of = False  # one of these, drawn for each text, and not all of them
    perturb.protect = True  # negations, sides, levels and findings are neither moved nor deleted
    perturb.first = False  # the first of several views, too
    perturb.table = ""  # of synonyms; empty = lumbarclip_jax/data/synonyms.toml

    # Labels in words, drawn anew each time: the texts of images whose patients have no written
    # report. See lumbarclip_jax/data/label_prompts.toml.
    data.prompts = prompts = ConfigDict()
    prompts.tasks = ()  # whose labels are said; () = reports as the data set has them
    prompts.share = 0.0  # probability that they also take the place of a written report
    prompts.table = ""  # of wordings; empty = the one above

    config.model = model = ConfigDict()
    # A whole model to start from: an earlier run, or a folder of open_clip such as BiomedCLIP, or
    # its name on the Hugging Face hub. It settles encoders, projections, embed_dim, temperature and
    # vocabulary.
    model.pretrained = ""
    model.embed_dim = 512  # E, size of the shared embedding
    # Outputs of a linear layer on what an encoder pools, which are then the tower's features: they
    # are projected, and probed. 0 = no such layer, the features are as wide as the encoder.
    model.feature_dim = 0
    model.image_encoder = ConfigDict()
    model.image_encoder.name = "vit"  # vit | swin | resnet
    model.image_encoder.variant = "B/16"  # see lumbarclip_jax/models/variants.py
    model.image_encoder.pooling = "cls"  # cls | mean | map, attention pooling as in SigLIP
    model.image_encoder.drop_path = 0.0  # stochastic depth of the last block
    # A published checkpoint to start from: a folder, or a name on the Hugging Face hub. See
    # lumbarclip_jax/models/pretrained for what can be read.
    model.image_encoder.pretrained = ""
    model.image_encoder.sizes = placeholder(dict)  # filled from the checkpoint, in place of variant
    model.text_encoder = ConfigDict()
    model.text_encoder.variant = "base"
    # cls | mean | last | mean_with_padding, which counts padding and cannot go with token_buckets
    model.text_encoder.pooling = "cls"
    # Hidden states whose mean is pooled: 0 = the embeddings, 1 = after the first block, -1 = after
    # the last. () = the last alone.
    model.text_encoder.pool_layers = ()
    model.text_encoder.pretrained = ""  # brings its own vocabulary
    model.text_encoder.sizes = placeholder(dict)
    model.projection = ConfigDict()
    model.projection.kind = "linear"  # linear | mlp | convirt | relu, see models/projection.py
    model.projection.text_kind = ""  # of the text's head; "" = kind
    model.projection.dropout = 0.1  # inside the mlp head
    model.logit_scale_init = math.log(1 / 0.07)  # log of 1 / temperature at the start
    model.logit_scale_max = math.log(100.0)  # the learned value is clipped to 0 .. this
    model.logit_bias_init = placeholder(float)  # start of SigLIP's bias (-10.0); None = no bias
    # How the images of a pair are made one before the projection, and where it is measured all of a
    # study: mean | attention, see models/study_pool.py; "" = each is embedded for itself.
    model.study_pooling = ""
    # Heads of objective.labels on the image embeddings, filled from the data set: (task, classes).
    model.heads = ConfigDict()
    model.heads.tasks = ()
    model.heads.cosine_scale = placeholder(float)  # by objective.labels.strategy
    # LoRA adapters (arXiv 2106.09685): kernels W [in, out] whose path a pattern matches are frozen,
    # and W + alpha / rank A B is trained by A [in, rank] and B [rank, out]. What else is frozen,
    # optim.frozen says. What is measured, used and exported is the sum.
    model.lora = lora = ConfigDict()
    lora.rank = 0  # 0 = no adapters
    lora.alpha = 16.0
    # Kernels of linear layers; these are of ViT, Swin and BERT: a ResNet has none of them.
    lora.paths = (".*_encoder/.*/(attention|mlp)/.*/kernel",)
    model.remat = False  # recompute encoder blocks in the backward pass: less memory, more time
    # One compiled block for all layers: quicker to compile; recomputes all but weights' products.
    model.scan_layers = False

    # What is trained: the sum of these terms, each times its weight. 0 = the term is not computed.
    # A schedule is a factor of the weight over training, linear between points (part of training,
    # factor), such as ((0.0, 0.0), (0.2, 1.0)); () = 1 throughout.
    config.objective = objective = ConfigDict()
    # auto | dense | blockwise | gather | ring: the same numbers, other memory
    objective.method = "auto"
    # Pairs of a batch whose reports are equal are each other's positives, instead of negatives.
    objective.group_reports = True
    objective.soft_clip = soft_clip = ConfigDict()
    soft_clip.weight = 1.0
    soft_clip.schedule = ()
    soft_clip.target_scale = 10.0  # sharpness of the soft targets; 0 = uniform
    # row (both directions normalised) | transposed (as the public tutorial)
    soft_clip.targets = "row"
    soft_clip.detach_targets = True  # no gradient through the targets
    # Blend of one-hot into the soft targets; 1.0 = plain CLIP. Towers that start from nothing embed
    # all pairs alike, which makes soft targets uniform: at 0.5 such runs never left that state.
    soft_clip.hard_weight = 0.9
    # Targets by labels in place of embeddings: (form, tasks, weight), added up, such as
    # (("classes", ("pfirrmann",), 1.0),), with a form of classes, signs or jaccard.
    soft_clip.likeness = ()
    objective.clip = clip = ConfigDict()
    clip.weight = 0.0
    clip.schedule = ()
    objective.siglip = siglip = ConfigDict()  # needs model.logit_bias_init
    siglip.weight = 0.0
    siglip.schedule = ()

    # Contrast among the images of a study, and among its texts: CXR-CLIP. They need 2 image_views,
    # and 2 text_views, or more.
    objective.icl = icl = ConfigDict()
    icl.weight = 0.0
    icl.schedule = ()
    objective.tcl = tcl = ConfigDict()
    tcl.weight = 0.0
    tcl.schedule = ()
    # Supervised contrast: images and texts of one class are near each other.
    objective.sup_con = sup_con = ConfigDict()
    sup_con.weight = 0.0
    sup_con.schedule = ()
    sup_con.task = ""  # whose classes; "" = every pair is one
    sup_con.temperature = 0.1

    # Classification by the labels of tasks, by a strategy of lumbarclip_jax/losses/imbalance.
    objective.labels = labels = ConfigDict()
    labels.weight = 0.0
    labels.schedule = ()
    labels.tasks = ()  # of the data set
    labels.strategy = "erm"

    config.optim = optim = ConfigDict()
    optim.lr = 1e-4  # peak learning rate
    optim.final_lr_fraction = 0.0  # of the peak, reached at total_steps
    optim.warmup_steps = 200
    optim.weight_decay = 0.05  # AdamW, on kernels and adapters only
    optim.b1 = 0.9
    optim.b2 = 0.98
    optim.clip_norm = 1.0  # global gradient norm; 0 = off
    # Of a running mean of the weights, kept beside them; 0 = none. It is shorter at first: at step
    # t at most (1 + t) / (10 + t).
    optim.ema_decay = 0.0
    # A step whose loss or gradient is not finite changes nothing; so many in a row stop the run.
    optim.max_skipped_steps = 10
    # The batch is encoded in this many parts, one after another: the gradient of the whole batch,
    # less memory, one more forward pass. Not exact for ResNet: in training its batch normalisation
    # takes the statistics of a part, and each part moves the running statistics.
    optim.accumulation_steps = 1
    # First matching pattern wins; patterns match parameter paths such as text_encoder/layer_0/...,
    # and those of adapters, lora/text_encoder/layer_0/..., only if they begin with lora/.
    optim.lr_multipliers = ()  # (("text_encoder/.*", 0.1),)
    optim.frozen = ()  # ("text_encoder/.*",)

    config.mesh = ConfigDict()
    config.mesh.fsdp = 1  # devices each parameter is split over; the rest are data parallel

    config.eval = evaluation = ConfigDict()
    evaluation.every_steps = 1_000  # validation split; 0 = never
    # retrieval | zero_shot | zero_shot_features | linear_probe | few_shot | label_heads |
    # robustness | cross_sequence | class_retrieval | alignment. Probes encode the training split
    # too, robustness the measured one for every corruption and severity; zero_shot_features needs
    # model.feature_dim, label_heads objective.labels; class_retrieval asks of every task and class,
    # in thousands of numbers; alignment reads each report anew, some 25 a second.
    evaluation.on_the_way = ("retrieval",)
    # What of it chooses the step that is measured and used, e.g.
    # "validation/retrieval/image_to_text_recall_at_5", with a "-" before it where less is better;
    # "" takes the last step.
    evaluation.choose_by = ""
    evaluation.patience = 0  # validations without a better one that end training; 0 = never
    evaluation.at_the_end = ("retrieval", "zero_shot", "linear_probe")  # on final_split
    # Validate, choose, measure and use the running mean of the weights where there is one; False =
    # the last weights.
    evaluation.averaged = True
    # What is measured: image | study, all images of one together, which asks for
    # data.level_prefix=False; auto = study where model.study_pooling makes them one.
    evaluation.unit = "auto"
    evaluation.batch_size = 64
    evaluation.bootstrap_resamples = 1_000
    evaluation.final_split = "test"  # measured when training ends

    config.checkpoint = ConfigDict()
    config.checkpoint.every_steps = 500
    config.checkpoint.keep = 2

    config.log_every_steps = 20
    config.lock()
    # A run file may add a term, and a setting of its own to one: `Objective` refuses what it does
    # not know, with a guess at what was meant.
    objective.unlock()
    return config


def resize(config: ConfigDict, size: str) -> None:
    """Applies the argument after the colon: `:quick` shrinks a run to minutes on two CPU cores.

    Raises:
      ValueError: `size` is neither "full" nor "quick".
    """
    if size == "full":
        return
    if size != "quick":
        raise ValueError(f"there is no :{size} form of a config, only :quick")
    config.name += "_quick"
    config.total_steps = 500
    config.data.image_size_px = 64
    config.data.crop_px = 128
    config.data.max_tokens = 64
    config.data.augment.update(scale=0.05, translate=0.02, gamma=0.1)
    config.model.embed_dim = 128
    config.model.image_encoder.pooling = "mean"
    config.model.text_encoder.variant = "tiny"
    config.model.text_encoder.pooling = "mean"
    config.optim.lr = 1e-3
    config.optim.warmup_steps = 20
    config.eval.every_steps = 125
    config.checkpoint.every_steps = 250
