"""T1 or T2: what a series is called, how the scanner made it, and its times."""

import re
import unicodedata
from collections.abc import Collection

T1_MAX_TR_MS, T1_MAX_TE_MS, T2_MIN_TR_MS, T2_MIN_TE_MS = 1200.0, 35.0, 1500.0, 60.0
# The first echo of two, a proton density, is filed under the name of the second, the T2. A T2 with
# fat nulled by inversion has 27 ms or more.
CALLED_T2_MIN_TE_MS = 25.0

# Acquisition Contrast (PS3.3 C.8.13.3.3) of an image that has the name or times of a T1 or T2
# without being one.
OTHER_CONTRASTS = frozenset({"T2_STAR", "DIFFUSION", "PERFUSION", "FLOW_ENCODED", "TAGGING", "TOF"})

# Gradient echoes by the names of their vendors and in the order Siemens, GE, Philips, Canon,
# Fujifilm (Hitachi) where each has one.
GRADIENT_ECHOES = (
    # of several echoes added up, the T2* of the spine
    "MEDIC", "MERGE", "COSMIC", "M?FFE", "ADAGE", "ME[23]D",
    # spoiled
    "GRE", "GRADIENT", "FLASH", "F?SPGR", "FE[23]?D?", "RSSG", "FL[23]D",
    # prepared or of a volume
    "TURBO ?FLASH", "TFL", "MP ?RAGE", "FGRE", "BRAVO", "TFE", "VIBE", "LAVA", "THRIVE", "TIGRE",
    # of the steady state, balanced or not
    "FISP", "PSIF", "DESS", "CISS", "TRU(?:E ?)?FI(?:SP)?", "GRASS", "MPGR", "FIESTA", "B?SSFP",
    "B-?T?FFE", "BASG", "TRSG", "PBSG",
    # weighted by susceptibility
    "SWI", "SWIP", "SWAN", "FSBB", "BSI",
)  # fmt: skip

_GRADIENT_ECHO = re.compile(rf"(?<![A-Z0-9])(?:T[12])?(?:{'|'.join(GRADIENT_ECHOES)})(?![A-Z0-9])")
_T2_STAR = re.compile(r"T2W?[ _-]*(?:\*|STAR(?![A-Z]))")
# Vertebrae are called T1 and T2 as well. Lumbar ranges go first: in "T2-L4-L5" L4-L5 is one.
_VERTEBRAE = (
    re.compile(r"(?<![A-Z0-9])L[1-6] *(?:[-–—/]|TO) *[LS]?[1-6](?![0-9])"),
    re.compile(r"(?<![A-Z0-9])[CT][0-9]{1,2} *(?:[-–—/]|TO) *(?:[CTLS][0-9]{1,2}|1[0-2])(?![0-9])"),
)
# Words, with the few things that are written in one with them: AXT2, 3DT1, PDT2, sT2W.
_CALLED = {
    name: re.compile(
        r"(?<![A-Z0-9])(?:AX|AXIAL|TRA|TRANS|SAG|COR|[23]D|PD|[A-Z]{1,2}(?=T[12]W))?"
        rf"{name}(?![0-9])"
    )
    for name in ("T1", "T2")
} | {"PD": re.compile(r"(?<![A-Z0-9])PDW?(?=T2|[^A-Z]|$)")}


def weighting(
    description: str,
    *,
    techniques: Collection[str],
    contrast: str,
    echo_ms: float,
    repetition_ms: float,
) -> str | None:
    """ "T1", "T2", or None for an image that is neither or cannot be told.

    The description decides, where it has none of the words the scanner's contrast, and else the
    times. One called T2 with the times of a T1 or of a proton density is neither. A gradient echo
    that is not called T1 is a T2*, or may be one.

    Args:
      description: of the series.
      techniques: values of Scanning Sequence (PS3.3 C.8.3.1): "SE", "IR", "GR", "EP", "RM".
      contrast: Acquisition Contrast of an enhanced image, else empty.
      echo_ms: echo time, 0 where unknown.
      repetition_ms: repetition time, 0 where unknown.
    """
    text = unicodedata.normalize("NFKC", description).upper()
    if "EP" in techniques or contrast in OTHER_CONTRASTS or _T2_STAR.search(text):
        return None
    by_times = _by_times(echo_ms, repetition_ms)
    called = _called(text) or {contrast} & {"T1", "T2"}
    name = next(iter(called)) if len(called) == 1 and "PD" not in called else by_times
    # A hybrid of spin and gradient echoes (GRASE) has the contrast of a spin echo.
    gradient = "GR" in techniques and "SE" not in techniques
    if (gradient or _GRADIENT_ECHO.search(text)) and called != {"T1"}:
        return None
    if name == "T2" and (by_times == "T1" or 0 < echo_ms < CALLED_T2_MIN_TE_MS):
        return None
    return name


def _called(text: str) -> set[str]:
    for vertebrae in _VERTEBRAE:
        text = vertebrae.sub(" ", text)
    return {name for name, word in _CALLED.items() if word.search(text)}


def _by_times(echo_ms: float, repetition_ms: float) -> str | None:
    if echo_ms >= T2_MIN_TE_MS and repetition_ms >= T2_MIN_TR_MS:
        return "T2"
    if 0 < echo_ms <= T1_MAX_TE_MS and 0 < repetition_ms <= T1_MAX_TR_MS:
        return "T1"
    return None
