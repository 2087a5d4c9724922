"""A trained model for use: pictures and texts to unit vectors, and what follows from them."""

import functools
import logging
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import PIL.Image

from data_prep.images import pixels, unlike
from data_prep.images.dicom import Rejected
from data_prep.images.pixels import Rendering
from data_prep.records import schema
from lumbarclip_jax import sharding
from lumbarclip_jax.data.dataset import with_level
from lumbarclip_jax.data.texts import prompts_of, texts_of
from lumbarclip_jax.evaluators import described_classes, study_pooling
from lumbarclip_jax.run_folder.run import Run, load_run
from lumbarclip_jax.training.encoding import make_encoders, make_pool_study

File = str | os.PathLike
Slice = np.ndarray | File | tuple[File, int]
Picture = Slice | PIL.Image.Image
FORMS = (
    "give uint8 arrays [H, W] or [B, H, W], grey Pillow images, or the paths of DICOM, PNG and "
    "JPEG files"
)

log = logging.getLogger(__name__)


class ClassProbabilities(NamedTuple):
    """What `Model.zero_shot` says of B images."""

    probabilities: np.ndarray  # float32 [B, K], rows that sum to 1
    classes: tuple[str, ...]  # K names, in the order of the columns


class Model:
    """The encoders of a trained run. Made by `lumbarclip_jax.load`.

    Images are uint8 arrays [H, W], [H, W, 1], [B, H, W] or [B, H, W, 1], or a sequence of such
    slices, Pillow images and paths; one slice, image or path may stand alone.

    A DICOM file is read as `data_prep.build` read the training data: rescaled, inverted if
    MONOCHROME1, turned upright by its orientation (taken as it lies if it has none), resampled to
    its pixel size and stretched to 8 bits in its window. Of a file that holds several frames, name
    the one that is meant: `(path, 7)`, counted from 0. One whose header tells of another plane or
    sequence than the training data's, of a localizer, or of pixels of quite another size is
    encoded all the same, and named in a warning, one a call.

    Nothing else says how large its pixels are and how it lies: arrays, Pillow images and paths
    ending in .png, .jpg, .jpeg, .tif or .tiff have pixels of the training data's size (0.6875 mm
    unless it was built otherwise) and lie as its slices do. 8 bits are taken as they are; a Pillow
    image or PNG of 16 bits is stretched to 8 in the window of the training data, by default from
    its smallest value to its largest. Three channels have to be equal.

    Slices are then cut or padded around their centre to the size of the training data's, so one of
    any size will do. Where the training data were pictures of unknown pixel size (the manifest's
    `image` has `pictures`: "fitted"), they are first scaled so that the longer side fits.
    """

    def __init__(self, run: Run):
        self.run = run
        self._rendering = rendering(run.data_manifest)
        self._encode_image, self._encode_text = make_encoders(run.model, run.config, run.mesh)
        self._pool_study = make_pool_study(run.model, run.mesh)

    def encode_image(self, images: Picture | Sequence[Picture]) -> np.ndarray:
        """Embeddings of images, float32 [B, E] of unit length: one a slice, none of an empty list.

        Raises:
          FileNotFoundError: there is no file of a path.
          ValueError: a file cannot be read or holds several frames and none is named, or something
            is no grey slice.
        """
        return self._of_images(images, "image_embeds")

    def encode_study(self, images: Picture | Sequence[Picture]) -> np.ndarray:
        """The embedding of all images of one study, float32 [E] of unit length.

        The normalised mean of the images' embeddings or, of a model that was trained to pool
        studies (`config.model.study_pooling`), what it makes of their features; in any order.

        Raises:
          FileNotFoundError, ValueError: as `encode_image`; there is no image.
        """
        pools = self.run.model.pools_studies
        rows = self._of_images(images, "image_features" if pools else "image_embeds")
        if not len(rows):
            raise ValueError("a study has images, and here is none: give one or more")
        study = np.zeros(len(rows), int)
        if not pools:
            return study_pooling.mean_pooled(rows, study)[0]
        pool = functools.partial(self._pool_study, self.run.state)
        return study_pooling.learnt(pool, rows, study)["image_embeds"][0]

    def _of_images(self, images: Picture | Sequence[Picture], output: str) -> np.ndarray:
        def encode(slices: list) -> Any:
            stored = np.stack([stored_slice(item, self._rendering) for item in slices])
            images = sharding.shard_batch({"images": stored}, self.run.mesh)["images"]
            return self._encode_image(self.run.state, images)[output]

        slices = slices_of(images)
        found = self._in_batches(encode, slices)
        warn_of_unlike(slices, self.run.data_manifest)
        return found

    def encode_text(self, texts: str | Sequence[str], level: str | None = None) -> np.ndarray:
        """Embeddings of texts, float32 [B, E] of unit length. Long texts are cut, as in training.

        Args:
          texts: sentences or reports; one may stand alone.
          level: the disc they speak of, "L3-L4", "L4-L5" or "L5-S1", or "all" for sagittal views.
            It is put in front, as in "L4-L5 : ...", where the training reports had it
            (`config.data.level_prefix`); without a level texts are encoded as they are.

        Raises:
          ValueError: there is no such level, the model was trained without levels, or something is
            no text.
        """

        def encode(texts: list) -> Any:
            tokens = sharding.shard_batch(self.run.tokenizer(texts), self.run.mesh)
            return self._encode_text(self.run.state, tokens)["text_embeds"]

        self._check_level(level)
        texts = texts_of(texts, "texts")
        told = [with_level(text, level or "", bool(level)) for text in texts]
        return self._in_batches(encode, told)

    def zero_shot(
        self,
        images: Picture | Sequence[Picture],
        classes: Mapping[str, str | Sequence[str]] | Sequence[str],
        level: str | None = None,
    ) -> ClassProbabilities:
        """Probabilities of classes that are described in words.

        A class's embedding is the mean of its prompts', normalised again; its probability is the
        softmax over classes of cosine / temperature, with the temperature learnt in training
        (CLIP, arXiv 2103.00020, sections 2.3 and 3.1.4). It compares the classes given with one
        another and is not calibrated; how good it is, the zero-shot evaluator measures.

        Args:
          images: as for `encode_image`.
          classes: name to prompts, or a list of prompts that are each a class; two or more.
          level: of the prompts, as for `encode_text`.

        Raises:
          FileNotFoundError, ValueError: as `encode_image` and `encode_text`; fewer than two
            classes, one without a prompt, or one twice.
        """
        prompts = prompts_of(classes)
        if len(prompts) < 2 or not all(prompts.values()):
            raise ValueError("zero_shot compares classes: give two or more, each with a prompt")
        class_embeds = described_classes.embeds(
            [self.encode_text(texts, level) for texts in prompts.values()]
        )
        probabilities = described_classes.probabilities(
            self.encode_image(images), class_embeds, float(self.run.state.params["logit_scale"])
        )
        return ClassProbabilities(probabilities.astype(np.float32), tuple(prompts))

    def _check_level(self, level: str | None) -> None:
        if level is None:
            return
        if not self.run.config.data.level_prefix:
            raise ValueError("this model was trained without levels before its texts: give none")
        levels = (*schema.LEVELS, schema.WHOLE_SPINE)
        if level not in levels:
            raise ValueError(f"level {level!r} is not one of {', '.join(levels)}")

    def _in_batches(self, encode: Callable[[list], Any], items: list) -> np.ndarray:
        """Rows of `encode` for all items, in batches of few sizes, since each size is compiled."""
        if not items:
            return np.zeros((0, self.run.config.model.embed_dim), np.float32)
        found = []
        batch_size = self.run.config.eval.batch_size
        for rows, used in sharding.filled_batches(len(items), batch_size, self.run.mesh):
            encoded = encode([items[row] for row in rows])
            found.append(np.asarray(encoded, np.float32)[:used])
        return np.concatenate(found)


def load(folder: str | pathlib.Path) -> Model:
    """The model of a run's folder, or of a folder exported with `--format=safetensors`.

    Raises:
      FileNotFoundError, ValueError: as `run.load_run`.
    """
    return Model(load_run(folder))


def warn_of_unlike(items: Sequence[Slice], data_manifest: Mapping[str, Any]) -> None:
    """Logs one warning of the DICOM files among items of `slices_of` that are unlike a data set."""
    files = [
        item if isinstance(item, tuple) else (item, 0)
        for item in items
        if isinstance(item, File | tuple)
    ]
    if sentence := unlike.in_words(files, data_manifest):
        log.warning("%s", sentence)


def slices_of(images: Picture | Sequence[Picture]) -> list[Slice]:
    """One item a slice: an array [H, W], of uint8 or of the wider values of a Pillow image; a file.

    Raises:
      ValueError: something is neither.
    """
    if isinstance(images, PIL.Image.Image) or (
        isinstance(images, File | tuple) and _is_file(images)
    ):
        # pyrefly: ignore [bad-assignment]  # one picture, as _is_file tells
        images = [images]
    if isinstance(images, np.ndarray) and images.dtype.kind not in "OU":
        if images.dtype != np.uint8 or images.ndim not in (2, 3, 4) or not images.size:
            raise _no_picture("images are", images)
        if images.ndim == 2 or images.shape[2:] == (1,):
            images = [images]
        elif images.shape[2:] in ((3,), (4,)):
            raise _no_picture("images are", images, "which is colour")
    if isinstance(images, bytes | Mapping) or not isinstance(images, Iterable):
        raise _no_picture("images are", images)
    return [_slice(item, index) for index, item in enumerate(images)]


def _slice(item: Any, index: int) -> Slice:
    if isinstance(item, PIL.Image.Image):
        try:
            return pixels.grey(item)
        except Rejected as error:
            raise _cannot_be_used(f"image {index}", error) from None
    if not isinstance(item, np.ndarray):
        if not _is_file(item):
            raise _no_picture(f"image {index} is", item)
        return item
    image = item[..., 0] if item.ndim == 3 and item.shape[2] == 1 else item
    if image.ndim != 2 or image.dtype != np.uint8 or not image.size:
        raise _no_picture(f"image {index} is", item)
    return image


def _is_file(item: Any) -> bool:
    if isinstance(item, tuple) and len(item) == 2:
        path, frame = item
        whole = isinstance(frame, int | np.integer) and not isinstance(frame, bool)
        return isinstance(path, File) and whole
    return isinstance(item, File)


def _no_picture(subject: str, item: Any, why: str = "") -> ValueError:
    if isinstance(item, np.ndarray):
        kind = f"{item.dtype} {list(item.shape)}"
    else:
        kind = f"a {type(item).__name__}"
    return ValueError(f"{subject} {kind}{', ' * bool(why)}{why}: {FORMS}")


def rendering(data_manifest: Mapping[str, Any]) -> Rendering:
    """How the images of a data set were made from files."""
    return Rendering(**data_manifest["image"])


def stored_slice(item: Slice, rendering: Rendering) -> np.ndarray:
    """An item of `slices_of` as the data set stores it, uint8 [S, S, 1].

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: a file cannot be read, or not that frame of it.
    """
    if isinstance(item, np.ndarray):
        return pixels.stored_picture(item, rendering)
    path, frame = item if isinstance(item, tuple) else (item, None)
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no image {path}")
    try:
        frames = pixels.frames(path)
        if frame is None and frames > 1:
            raise ValueError(
                f"{path} holds {frames} frames: name one as (path, frame), from 0 to {frames - 1}, "
                f"or all of them as [(path, frame) for frame in range({frames})]"
            )
        if not 0 <= (frame or 0) < frames:
            raise ValueError(f"{path} has no frame {frame}: name one from 0 to {frames - 1}")
        return pixels.render(path, rendering, frame or 0)
    except Rejected as error:
        raise _cannot_be_used(str(path), error) from None


def _cannot_be_used(what: str, error: Rejected) -> ValueError:
    detail = f" ({error.detail})" if error.detail else ""
    return ValueError(f"{what} cannot be used: {error.reason.meaning}{detail}")
