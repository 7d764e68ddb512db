"""Makes this folder's excerpt from the whole MIT-BIH Arrhythmia Database: `python -m sample_data.make_sample FOLDER`.

From each record, the five minutes with the most beats of the rare classes (see `best_start`), both leads, all
annotations, digital values unchanged. The same database gives the same bytes.
"""

import hashlib
import math
import sys
from pathlib import Path

import numpy as np
import wfdb

from keras_ecg.databases.mitdb import CLASS_OF_SYMBOL, CLASSES, DS1, DS2

HERE = Path(__file__).parent
SECONDS, STEP_SECONDS = 300, 30
# Each class stands on both sides of the DS1 / DS2 split, in several subjects. 201, and with it the one man who
# is on both sides, is left out. 114 has its leads the other way round.
RECORDS = (
    *("114", "118", "119", "124", "203", "205", "208", "209", "220", "223"),  # DS1
    *("100", "200", "210", "213", "222", "228", "232", "233"),  # DS2
)
WEIGHTS = {"N": 0.3, "S": 1.0, "V": 1.0, "F": 1.5, "Q": 0.0}  # F is the rarest


def best_start(samples: np.ndarray, symbols: list[str], length: int, rate: int) -> tuple[int, list[int]]:
    """The window's first sample, and its beats per class: the largest sum of WEIGHTS x log(1 + beats)."""
    classes = np.array([CLASS_OF_SYMBOL.get(symbol, -1) for symbol in symbols])
    best = (-1.0, 0, [])
    for start in range(0, length - SECONDS * rate + 1, STEP_SECONDS * rate):
        inside = classes[(samples >= start) & (samples < start + SECONDS * rate)]
        counts = [int((inside == k).sum()) for k in range(len(CLASSES))]
        score = sum(WEIGHTS[name] * math.log1p(n) for name, n in zip(CLASSES, counts, strict=True))
        if score > best[0]:
            best = (score, start, counts)
    return best[1:]


def write_excerpt(database: Path, name: str) -> tuple[int, list[int]]:
    """Writes one record's .dat, .hea and .atr here; returns the start in seconds and the beats per class."""
    path = str(database / name)
    notes = wfdb.rdann(path, "atr")
    header = wfdb.rdheader(path)
    start, counts = best_start(notes.sample, notes.symbol, header.sig_len, int(header.fs))
    stop = start + SECONDS * int(header.fs)
    record = wfdb.rdrecord(path, sampfrom=start, sampto=stop, physical=False)
    record.init_value = [int(value) for value in record.d_signal[0]]
    record.checksum = record.calc_checksum()
    record.comments.append(f"Excerpt: samples {start} to {stop - 1} of the record")
    record.wrsamp(write_dir=str(HERE))
    keep = np.flatnonzero((notes.sample >= start) & (notes.sample < stop))
    wfdb.wrann(
        name,
        "atr",
        sample=notes.sample[keep] - start,
        symbol=[notes.symbol[k] for k in keep],
        subtype=notes.subtype[keep],
        chan=notes.chan[keep],
        num=notes.num[keep],
        aux_note=[notes.aux_note[k] for k in keep],
        write_dir=str(HERE),
    )
    return start // int(header.fs), counts


def table(rows: list[tuple[str, int, list[int]]]) -> str:
    """The README's table: one line per record, and the sums of both sides."""
    lines = ["| side | record | from second | seconds | " + " | ".join(CLASSES) + " |", "|---" * 9 + "|"]
    for side, names in (("DS1", DS1), ("DS2", DS2)):
        own = [row for row in rows if row[0] in names]
        cells = [(side, name, start, SECONDS, *counts) for name, start, counts in own]
        sums = np.sum([counts for _, _, counts in own], axis=0)
        cells.append((f"**{side}**", f"{len(own)} records", "", SECONDS * len(own), *sums))
        lines += ["| " + " | ".join(map(str, row)) + " |" for row in cells]
    return "\n".join(lines)


def main() -> None:
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit("usage: python -m sample_data.make_sample FOLDER, the folder of the whole MIT-BIH Arrhythmia Database")
    rows = [(name, *write_excerpt(Path(sys.argv[1]), name)) for name in sorted(RECORDS)]
    (HERE / "RECORDS").write_text("".join(f"{name}\n" for name in sorted(RECORDS)))
    files = [HERE / f"{name}.{suffix}" for name in sorted(RECORDS) for suffix in ("atr", "dat", "hea")] + [
        HERE / "RECORDS"
    ]
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.name}\n" for path in files]
    (HERE / "SHA256SUMS.txt").write_text("".join(sums))
    readme = HERE / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition("<!-- table -->")
    readme.write_text(
        f"{before}<!-- table -->\n{table(rows)}\n<!-- end -->{rest.partition('<!-- end -->')[2]}", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
