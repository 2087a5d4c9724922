"""A WordPiece vocabulary (Devlin et al. 2019) learnt from a split's reports."""

import string
from collections.abc import Sequence

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MAX_SIZE = 4000
MIN_FREQUENCY = 2


def learn(texts: Sequence[str]) -> list[str]:
    """The tokens in the order of their ids: special tokens, single characters, word pieces.

    Text is lower-cased and stripped of accents as for uncased BERT. Every ASCII letter, digit and
    sign and every character of the texts is a token of its own, so that a new word breaks into
    pieces rather than become [UNK].
    """
    normalizer = normalizers.BertNormalizer(lowercase=True)
    seen = {char for text in texts for char in normalizer.normalize_str(text)}
    ascii_signs = set(string.ascii_lowercase + string.digits + string.punctuation)
    characters = sorted(char for char in seen | ascii_signs if not char.isspace())
    continuations = [f"##{char}" for char in characters if char.isalnum()]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=MAX_SIZE,
        min_frequency=MIN_FREQUENCY,
        # The trainer numbers characters in the order of a hash map, which differs from run to run
        # and decides ties between word pieces. Given here, they are numbered already.
        special_tokens=[*SPECIAL_TOKENS, *characters, *continuations],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    ids = tokenizer.get_vocab()
    return sorted(ids, key=ids.__getitem__)
