"""WordPiece over a vocabulary file, in the conventions of BERT."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tokenizers


class Tokenizer:
    """Texts to `input_ids` and `attention_mask` of a fixed length.

    Args:
      vocab_file: as for `read_vocabulary`, [PAD] [UNK] [CLS] [SEP] [MASK] among the tokens.
      max_tokens: T; longer texts are cut, shorter ones padded, [CLS] and [SEP] included.
      lowercase: whether texts are lower-cased and lose their accents first.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: a special token is missing.
    """

    def __init__(self, vocab_file: str | pathlib.Path, max_tokens: int, lowercase: bool = True):
        self.vocab_file = pathlib.Path(vocab_file)
        self.tokens = read_vocabulary(self.vocab_file)
        ids = {token: i for i, token in enumerate(self.tokens)}
        missing = [t for t in ("[PAD]", "[UNK]", "[CLS]", "[SEP]") if t not in ids]
        if missing:
            raise ValueError(
                f"{self.vocab_file} lacks {' '.join(missing)}: it is not a BERT vocabulary"
            )
        self.vocab_size = len(self.tokens)
        self.max_tokens = max_tokens
        self._wordpiece = tokenizers.BertWordPieceTokenizer(ids, lowercase=lowercase)
        self._wordpiece.enable_truncation(max_tokens)
        self._wordpiece.enable_padding(length=max_tokens, pad_id=ids["[PAD]"])

    def __call__(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """Returns `input_ids` and `attention_mask`, int32 [len(texts), T]."""
        encodings = self._wordpiece.encode_batch(list(texts))
        return {
            "input_ids": np.array([e.ids for e in encodings], np.int32),
            "attention_mask": np.array([e.attention_mask for e in encodings], np.int32),
        }


def read_vocabulary(path: pathlib.Path) -> list[str]:
    """The tokens in the order of their ids, of a file with one a line or of a tokenizer.json.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: a tokenizer.json of another kind than WordPiece.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no vocabulary {path}: it is written by data_prep.build for data sets "
            "with a train split"
        )
    if path.suffix != ".json":
        # Not splitlines: some published tokens are Unicode's own line separators.
        return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    model = read_json(path).get("model", {})
    if model.get("type") != "WordPiece":
        raise ValueError(f"{path} is no WordPiece tokenizer: pass a BERT that has a vocab.txt")
    return sorted(model["vocab"], key=model["vocab"].get)


def published_vocabulary(folder: pathlib.Path) -> pathlib.Path | None:
    """The file with the vocabulary of a published BERT, None when the folder has none."""
    paths = (folder / "vocab.txt", folder / "tokenizer.json")
    return next((path for path in paths if path.is_file()), None)


def published_lowercase(folder: pathlib.Path) -> bool:
    """Whether a published BERT lower-cases its texts; true, as for `transformers`, if not said.

    Raises:
      ValueError: it treats accents or Chinese characters in another way than `Tokenizer`.
    """
    rules: dict[str, Any] = {
        "do_lower_case": True,
        "strip_accents": None,
        "tokenize_chinese_chars": True,
    }
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            said = read_json(folder / name)
            said = bert_normalizer(said) if name == "tokenizer.json" else said
            rules |= {rule: said[rule] for rule in rules if rule in said}
    lowercase = rules["do_lower_case"]
    if rules["strip_accents"] not in (None, lowercase) or not rules["tokenize_chinese_chars"]:
        raise ValueError(
            f"the tokenizer in {folder} has rules of its own for accents or Chinese characters, "
            "which are not known here: pass a BERT with the usual ones"
        )
    return lowercase


def bert_normalizer(tokenizer: dict) -> dict:
    """The rules of a tokenizer.json under their names in a tokenizer_config.json."""
    said = tokenizer.get("normalizer") or {}
    names = {
        "lowercase": "do_lower_case",
        "strip_accents": "strip_accents",
        "handle_chinese_chars": "tokenize_chinese_chars",
    }
    return {names[rule]: value for rule, value in said.items() if rule in names}


def read_json(path: pathlib.Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}): fetch the file again") from error
