"""MIT-BIH Arrhythmia Database 1.0.0: its records, subjects, classes and published splits.

Moody GB, Mark RG. The impact of the MIT-BIH Arrhythmia Database. IEEE Eng Med Biol 20(3):45-50 (2001).
https://physionet.org/content/mitdb/1.0.0/
"""

FOLDER = "mit-bih-arrhythmia-database-1.0.0"

# ANSI/AAMI EC57: the symbols of each class, in the order in which every table of this project lists them.
AAMI_SYMBOLS = {"N": "NLRej", "S": "AaJS", "V": "VE", "F": "F", "Q": "/fQ"}
CLASSES = tuple(AAMI_SYMBOLS)
CLASS_OF_SYMBOL = {symbol: k for k, symbols in enumerate(AAMI_SYMBOLS.values()) for symbol in symbols}

PACED = ("102", "104", "107", "217")


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# de Chazal P, O'Dwyer M, Reilly RB. IEEE Trans Biomed Eng 51(7):1196-1206 (2004), without the paced records.
DS1 = _names("101 106 108 109 112 114 115 116 118 119 122 124 201 203 205 207 208 209 215 220 223 230")
DS2 = _names("100 103 105 111 113 117 121 123 200 202 210 212 213 214 219 221 222 228 231 232 233 234")
RECORDS = tuple(sorted(DS1 + DS2 + PACED))

# The seven test records of the closest public work, against its 38 training records.
SEED_TEST = ("106", "207", "208", "220", "228", "231", "233")
SEED_TRAIN = tuple(r for r in RECORDS if r not in SEED_TEST + ("102", "104", "107"))

# Training and test records of each published split, by the name that `evaluation.split` gives it.
SPLITS = {"ds1_ds2": (DS1, DS2), "seed": (SEED_TRAIN, SEED_TEST)}

# The one declared exception to "no subject on both sides": de Chazal's split divides this man's two records.
SAME_MAN = ("201", "202")


def subject_of(record: str) -> str:
    """The subject of a record: the record itself, but for 201 and 202, who are one man."""
    return "201+202" if record in SAME_MAN else record
