"""The texts of a pair as they are drawn for training, one a view."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from lumbarclip_jax.data.label_prompts import FILE as WORDINGS
from lumbarclip_jax.data.label_prompts import Wordings
from lumbarclip_jax.data.perturbations import Perturbation, perturbed
from lumbarclip_jax.data.sentences import sample_sentences
from lumbarclip_jax.data.synonyms import FILE, Synonyms

NONE = Perturbation()
Prompt = Callable[[np.random.Generator], str]


class Drawn(NamedTuple):
    """A text, and its place among those of its record: 0 is the report."""

    text: str
    place: int


@dataclasses.dataclass(frozen=True)
class TextDraws:
    """How the texts of a pair are made of those of its record.

    Attributes:
      views: W, texts of a pair.
      keep_sentence: the probability that a text keeps a sentence, see `sample_sentences`.
      further_texts: whether they are drawn from all texts of the record, and not its report alone.
      redraw: whether every view draws text and sentences anew; else those of the first serve all,
        as where a second text is to differ by its perturbation alone.
      perturbation: of all views but the first, or of the only one.
      perturb_first: perturb the first of several views, too.
      synonyms: the table of `perturbation`.
      prompt_tasks: whose labels are put into words in place of a report that was made from grades.
      prompt_share: the probability that they take the place of a written one, too.
      wordings: of these labels.
    """

    views: int = 1
    keep_sentence: float = 1.0
    further_texts: bool = True
    redraw: bool = True
    perturbation: Perturbation = NONE
    perturb_first: bool = False
    synonyms: Synonyms | None = None
    prompt_tasks: tuple[str, ...] = ()
    prompt_share: float = 0.0
    wordings: Wordings | None = None

    @classmethod
    def of(cls, data: ConfigDict) -> "TextDraws":
        """Those of `config.data`.

        Raises:
          FileNotFoundError, ValueError: as `Perturbation`, `Synonyms` and `Wordings`.
        """
        how = data.perturb
        names = [field.name for field in dataclasses.fields(Perturbation)]
        perturbation = Perturbation(**{name: how[name] for name in names})
        return cls(
            views=data.text_views,
            keep_sentence=data.keep_sentence,
            further_texts=data.further_texts,
            redraw=data.redraw_text,
            perturbation=perturbation,
            perturb_first=how.first,
            synonyms=Synonyms(how.table or FILE) if perturbation.changes else None,
            prompt_tasks=tuple(data.prompts.tasks),
            prompt_share=data.prompts.share,
            wordings=Wordings(data.prompts.table or WORDINGS) if data.prompts.tasks else None,
        )

    def fault(self, further: bool) -> str:
        """A sentence on views that are all one text, else "".

        Args:
          further: whether the data set has further texts, or may have.
        """
        others = self.keep_sentence < 1 or (further and self.further_texts) or self.prompt_tasks
        if self.views < 2 or self.synonyms or (self.redraw and others):
            return ""
        why, remedy = "data.redraw_text=False", "data.redraw_text=True"
        if self.redraw:
            why = f"data.keep_sentence={self.keep_sentence} and the report as their only text"
            remedy = "a data.keep_sentence below 1"
        return (
            f"data.text_views={self.views} with {why} are one text {self.views} times: set a "
            f"probability of data.perturb, or {remedy}"
        )

    def __call__(
        self,
        texts: Sequence[str],
        seed: int,
        prompt: Prompt | None = None,
        *,
        is_written: bool = True,
    ) -> list[Drawn]:
        """The views [W] of a record with these texts, its report first; equal for equal seeds.

        `prompt` puts the labels of the record into words, and `is_written` says that a doctor wrote
        its report.
        """
        return [self._view(texts, seed, view, prompt, is_written) for view in range(self.views)]

    def _view(
        self, texts: Sequence[str], seed: int, view: int, prompt: Prompt | None, is_written: bool
    ) -> Drawn:
        of = view if self.redraw else 0
        place = 0
        if len(texts) > 1 and self.further_texts:
            place = int(np.random.default_rng((seed, of, 1)).integers(len(texts)))
        # With one view the draws of runs that knew of no others.
        text = sample_sentences(texts[place], self.keep_sentence, (seed, of) if of else seed)
        if prompt:
            rng = np.random.default_rng((seed, of, 4))
            asked = not is_written or rng.random() < self.prompt_share
            if asked and (said := prompt(rng)):
                place, text = 0, said
        if self.synonyms and (view or self.views == 1 or self.perturb_first):
            text = perturbed(text, self.perturbation, self.synonyms, (seed, view, 2))
        return Drawn(text, place)


WHOLE_REPORT = TextDraws(further_texts=False)
