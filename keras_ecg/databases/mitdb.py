"""MIT-BIH Arrhythmia Database 1.0.0: its records, subjects, classes and published splits.

Moody GB, Mark RG. The impact of the MIT-BIH Arrhythmia Database. IEEE Eng Med Biol 20(3):45-50 (2001).
https://physionet.org/content/mitdb/1.0.0/
"""

FOLDER = "mit-bih-arrhythmia-database-1.0.0"

# Symbols of each class of ANSI/AAMI EC57, in the order of all tables and predictions.
AAMI_SYMBOLS = {"N": "NLRej", "S": "AaJS", "V": "VE", "F": "F", "Q": "/fQ"}
CLASSES = tuple(AAMI_SYMBOLS)
CLASS_OF_SYMBOL = {symbol: k for k, symbols in enumerate(AAMI_SYMBOLS.values()) for symbol in symbols}

PACED = ("102", "104", "107", "217")


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# de Chazal P, O'Dwyer M, Reilly RB. IEEE Trans Biomed Eng 51(7):1196-1206 (2004), without the paced records.
DS1 = _names("101 106 108 109 112 114 115 116 118 119 122 124 201 203 205 207 208 209 215 220 223 230")
DS2 = _names("100 103 105 111 113 117 121 123 200 202 210 212 213 214 219 221 222 228 231 232 233 234")
NAMES = ("mitdb", "sample")  # of `database.name`: the database and its bundled excerpt
RECORDS = tuple(sorted(DS1 + DS2 + PACED))

# The seven test and 38 training records of the reference repository.
SEED_TEST = ("106", "207", "208", "220", "228", "231", "233")
SEED_TRAIN = tuple(r for r in RECORDS if r not in SEED_TEST + ("102", "104", "107"))

# Training and test records of published splits, by their name in `evaluation.split`.
SPLITS = {"ds1_ds2": (DS1, DS2), "seed": (SEED_TRAIN, SEED_TEST)}

# Both records are of one subject, who is on both sides of de Chazal's split: the only declared exception.
SAME_MAN = ("201", "202")


def subject_of(record: str) -> str:
    """Return the subject of a record: the record itself, except for 201 and 202, which are of the same subject."""
    return "201+202" if record in SAME_MAN else record
