"""The vocabulary: the same bytes from every run, and no common word unknown."""

import subprocess
import sys

from transformers import BertTokenizer

from data_prep.text import vocabulary

TEXTS = [
    "L4-L5: diffuse disc bulge, compressing the thecal sac.",
    "No disc bulge. The thecal sac is free; adequate canal (L5/S1).",
    "Diffuse annular disc bulge with a tear?",
]


def test_special_tokens_then_characters_then_pieces():
    tokens = vocabulary.learn(TEXTS)
    assert tokens[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert len(set(tokens)) == len(tokens) <= 4000
    assert {"a", "z", "0", "9", "-", "/", "##a", "##9"} <= set(tokens)
    assert {"disc", "bulge", "thecal", "sac"} <= set(tokens)
    # Seen once: left to its pieces.
    assert "compressing" not in tokens


def test_a_tokenizer_reads_it_and_knows_every_ascii_word(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary.learn(TEXTS)) + "\n")
    tokenizer = BertTokenizer(str(tmp_path / "vocab.txt"), do_lower_case=True)
    ids = tokenizer("Zygapophyseal DISC bulge @ L4-L5 (70%)!")["input_ids"]
    assert ids[0] == 2
    assert ids[-1] == 3
    assert 1 not in ids


def test_two_processes_learn_the_same():
    code = (
        "import hashlib; from data_prep.text import vocabulary;"
        f"print(hashlib.sha256('|'.join(vocabulary.learn({TEXTS!r})).encode()).hexdigest())"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(3)
    ]
    assert len({run.stdout for run in runs}) == 1
