"""Texts and classes as people give them."""

from collections.abc import Iterable, Mapping, Sequence


def prompts_of(
    classes: Mapping[str, str | Sequence[str]] | Sequence[str],
) -> dict[str, list[str]]:
    """Names of classes to their prompts; a prompt without a name is its own.

    Raises:
      ValueError: something is no text, or a class is there twice.
    """
    if isinstance(classes, Mapping):
        return {name: texts_of(texts, f"class {name!r}") for name, texts in classes.items()}
    texts = texts_of(classes, "classes")
    if twice := [text for index, text in enumerate(texts) if text in texts[:index]]:
        raise ValueError(f"classes: {twice[0]!r} is there twice: name each class once")
    return {text: [text] for text in texts}


def texts_of(texts: str | Sequence[str], name: str) -> list[str]:
    """The texts as a list; `name` is for messages.

    Raises:
      ValueError: something is no text.
    """
    if isinstance(texts, str):
        texts = [texts]
    if isinstance(texts, bytes | Mapping) or not isinstance(texts, Iterable):
        raise ValueError(f"{name}: a {type(texts).__name__} is no text: give strings")
    texts = list(texts)
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"{name}[{index}] is a {type(text).__name__}: give strings")
        if any("\ud800" <= char <= "\udfff" for char in text):
            raise ValueError(
                f"{name}[{index}] holds half a character (a lone surrogate): decode its bytes as "
                "they were encoded, or with errors='replace'"
            )
    return texts
