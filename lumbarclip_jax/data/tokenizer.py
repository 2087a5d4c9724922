"""WordPiece over a vocabulary file, in the conventions of uncased BERT."""

import pathlib
from collections.abc import Sequence

import numpy as np
import tokenizers


class Tokenizer:
    """Texts to `input_ids` and `attention_mask` of a fixed length.

    Args:
      vocab_file: one token a line, [PAD] [UNK] [CLS] [SEP] [MASK] among them.
      max_tokens: T; longer texts are cut, shorter ones padded, [CLS] and [SEP] included.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: a special token is missing.
    """

    def __init__(self, vocab_file: str | pathlib.Path, max_tokens: int):
        path = pathlib.Path(vocab_file)
        if not path.is_file():
            raise FileNotFoundError(
                f"there is no vocabulary {path}: it is written by data_prep.build for data sets "
                "with a train split"
            )
        vocabulary = {t: i for i, t in enumerate(path.read_text(encoding="utf-8").splitlines())}
        missing = [t for t in ("[PAD]", "[UNK]", "[CLS]", "[SEP]") if t not in vocabulary]
        if missing:
            raise ValueError(f"{path} lacks {' '.join(missing)}: it is not a BERT vocabulary")
        self.vocab_size = len(vocabulary)
        self.max_tokens = max_tokens
        self._wordpiece = tokenizers.BertWordPieceTokenizer(vocabulary, lowercase=True)
        self._wordpiece.enable_truncation(max_tokens)
        self._wordpiece.enable_padding(length=max_tokens, pad_id=vocabulary["[PAD]"])

    def __call__(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """Returns `input_ids` and `attention_mask`, int32 [len(texts), T]."""
        encodings = self._wordpiece.encode_batch(list(texts))
        return {
            "input_ids": np.array([e.ids for e in encodings], np.int32),
            "attention_mask": np.array([e.attention_mask for e in encodings], np.int32),
        }
