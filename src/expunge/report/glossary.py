"""Words that a certificate cannot do without, each in a sentence for somebody who has read no guide."""

from __future__ import annotations

import re
from collections.abc import Mapping

from markupsafe import Markup

GLOSSARY: Mapping[str, str] = {
    "beacon": "a value from outside that nobody knew when the data were committed; the schedule follows from it",
    "bit for bit": "equal to the last digit, without any tolerance",
    "bundle": "the folder or zip that the owner hands over: signed records, commitments, proofs from the log",
    "chair": "a slot’s place in one step of the training; the chair of a forgotten row stays empty, nobody moves up",
    "checkpoint": "a state that was kept on disk; of a log, its signed head",
    "claimed": "the owner says so; nobody carried the run out again",
    "commitment": "the owner’s signature under data and settings, before or after the training",
    "digest": "the fingerprint of a file or of anything else: where digests are equal, the bytes are",
    "example-step": "one example forward and backward, the unit of work",
    "grinding": "trying many settings until one suits",
    "leaf": "the fingerprint of one row",
    "lineage seed": "the number that all chance in a training follows from; computed from recipe, data and beacon",
    "log": "the owner’s list of signed records, to which records can only be added",
    "recipe": "all settings of a training that decide the weights",
    "root": "the fingerprint of all rows together; the commitment names it",
    "salt": "random bytes in a leaf, so that nobody can test guesses of a row; destroyed with the row",
    "schedule": "the computed list of which slots sit in which step",
    "segment": "the steps between two recorded states",
    "shard": "a part of the data with a model of its own",
    "slice": "a stage in which a shard’s rows join the training",
    "slot": "the number of a training row; it never changes, whatever is forgotten",
    "state": "weights and everything else that a step starts from",
    "tombstone": "the mark that a slot’s chairs are empty",
    "unit": "the rows of one person, which always sit in one shard",
    "weights": "the numbers that make up a model",
    "witness": "somebody else who signs the log’s head, so that it cannot show two histories",
}
FORMS = {  # of words that have others than an s at their end
    "bit for bit": "bits?",
    "leaf": "leaf|leaves",
    "lineage seed": "(?:lineage )?seed",
    "weights": "weights?",
    "witness": "witness(?:es|ed)?",
}


def words_in(html: str) -> dict[str, str]:
    """The words that a piece of a page uses, and what they are."""
    text = Markup(html).striptags()
    return {word: said for word, said in GLOSSARY.items() if _pattern(word).search(text)}


def _pattern(word: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{FORMS.get(word, f'{word}s?')})\b", re.IGNORECASE)
