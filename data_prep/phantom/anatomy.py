"""The parameters of one patient and their priors: everything the pictures and the report show.

Millimetres and the patient's own sides throughout: `u` grows to the patient's left, which is the
right of the image (radiological convention), `v` grows backwards, the origin is the disc's centre.
"""

import dataclasses
import itertools

import numpy as np
from scipy.special import ndtri

from data_prep.records.schema import LEVELS

# What counts as a finding. Reports, labels and tests share these thresholds.
BULGE_MM = 1.5
PROTRUSION_MM = 2.0
EXTRUSION_MM = 7.5
INDENTATION_MM = 0.5
FORAMINAL_NARROWING = 0.5
STENOSIS = 0.5
FACET_HYPERTROPHY = 0.6

# One entry a level. The rates follow the published cohort (per-level counts of its reports).
_BULGE_RATE = (0.17, 0.52, 0.29)
_PROTRUSION_RATE = (0.03, 0.14, 0.18)
_STENOSIS_RATE = (0.02, 0.055, 0.01)
_GRADE_CUMULATIVE = ((0.02, 0.68, 0.87, 0.98), (0.02, 0.49, 0.79, 0.985), (0.01, 0.49, 0.75, 0.96))
_DISC_WIDTH_MM = (49.0, 51.0, 50.0)
_DISC_DEPTH_MM = (36.0, 37.0, 35.0)
_DISC_HEIGHT_MM = (10.5, 11.5, 10.5)
_CONCAVITY_MM = (2.2, 1.6, 0.8)
_SAC_WIDTH_MM = (17.0, 16.0, 13.5)
_SAC_DEPTH_MM = (14.0, 13.0, 11.5)
_SAC_GAP_MM = (0.9, 1.1, 2.4)
_RECESS_MM = (2.4, 2.8, 4.6)
_TILT_DEG = (-3.0, 6.0, 25.0)


@dataclasses.dataclass(frozen=True)
class Level:
    """One disc and what surrounds it; fractions run from 0 (normal) to about 1 (severe)."""

    name: str
    disc_width_mm: float
    disc_depth_mm: float
    disc_height_mm: float
    concavity_mm: float
    bulge_mm: float
    protrusion_mm: float
    protrusion_offset_mm: float
    protrusion_width_mm: float
    degeneration: float  # continuous Pfirrmann grade, 0.5 to 5.5
    annular_tear: bool
    stenosis: float
    foraminal_left: float
    foraminal_right: float
    facet_left: float
    facet_right: float
    flavum_mm: float
    sac_width_mm: float
    sac_depth_mm: float
    sac_gap_mm: float
    recess_mm: float
    tilt_deg: float
    centre_mm: tuple[float, float, float]  # DICOM patient axes: left, posterior, superior

    @property
    def pfirrmann(self) -> int:
        """Grade 1..5 of the disc (Pfirrmann 2001)."""
        return int(np.clip(np.rint(self.degeneration), 1, 5))

    @property
    def side(self) -> str:
        """Where the protrusion points: "left", "right", "central", or "" without one."""
        if self.protrusion_mm < PROTRUSION_MM:
            return ""
        if abs(self.protrusion_offset_mm) < 2.5:
            return "central"
        return "left" if self.protrusion_offset_mm > 0 else "right"

    @property
    def sac_indentation_mm(self) -> float:
        """How far the disc's back edge passes the resting front edge of the thecal sac."""
        reach = self.sac_width_mm / 2 + self.protrusion_width_mm / 2
        hit = self.protrusion_mm if abs(self.protrusion_offset_mm) < reach else 0.0
        lost_concavity = self.concavity_mm * min(1.0, self.bulge_mm / 2.5)
        return max(0.0, self.bulge_mm + hit + 0.5 * lost_concavity - self.sac_gap_mm)

    def root_narrowing(self, side: str) -> float:
        """Narrowing of the nerve root's way out on `side`: its foramen or its lateral recess."""
        sign = 1.0 if side == "left" else -1.0
        towards = sign * self.protrusion_offset_mm > 2.5
        recess = self.protrusion_mm / 7.0 if towards else self.protrusion_mm / 25.0
        return max(self.foraminal_left if side == "left" else self.foraminal_right, recess)


@dataclasses.dataclass(frozen=True)
class Patient:
    """One patient: body, position in the scanner, spine."""

    number: int
    seed: int
    difficulty: float
    sex: str
    age_years: int
    height_m: float
    weight_kg: float
    scale: float
    rotation_deg: float
    shift_mm: tuple[float, float]
    fat_mm: float  # subcutaneous, behind the spine
    muscle: float  # bulk, 1 = average
    infiltration: float  # fat within the back muscles, 0..1
    asymmetry: float  # of the muscles, left minus right, about -0.15..0.15
    muscle_spasm: bool  # reported, and by design not visible on an axial slice
    high_iliac_crest: bool
    levels: tuple[Level, ...]

    def rng(self, stream: str, index: int = 0) -> np.random.Generator:
        """An independent generator for one use, so that no use shifts the draws of another."""
        return generator(self.seed, self.number, stream, index)


def generator(seed: int, number: int, stream: str, index: int = 0) -> np.random.Generator:
    """The random numbers of patient `number` for the use named `stream`."""
    return np.random.default_rng([seed, number, *stream.encode(), index])


def draw_patient(seed: int, number: int, difficulty: float) -> Patient:
    """Patient `number` of the set `seed`. The same random draws serve every difficulty in [0, 1]:
    difficulty only shrinks the lesions, moves them nearer to the thresholds and widens the
    variation of healthy anatomy."""
    rng = generator(seed, number, "body")
    age = int(np.clip(rng.normal(44, 15), 17, 84))
    male = rng.random() < 0.47
    height = float(np.clip(rng.normal(1.74 if male else 1.62, 0.07), 1.45, 2.0))
    body_mass_index = float(np.clip(rng.gamma(9.0, 0.9) + 18.5, 18, 44))
    wear = 0.45 * (age - 44) / 15 + 0.9 * float(rng.normal())
    spread = 0.5 + difficulty
    shift = rng.normal(0, 3.0, 2) * spread
    frame = float(np.clip(rng.normal(0, 0.045), -0.12, 0.12))
    tilts = [float(t + rng.normal(0, 3.0)) for t in _TILT_DEG]
    centres = _spine_curve(tilts, spacing_mm=36.0 * (1 + frame))
    rotation = float(rng.normal(0, 2.0) * spread)
    muscle = float(np.clip(rng.normal(1.05 if male else 0.95, 0.09), 0.75, 1.3))
    infiltration = float(np.clip(0.22 + 0.13 * wear + rng.normal(0, 0.12), 0.02, 0.9))
    asymmetry = float(rng.normal(0, 0.04) * spread)
    fat = float(np.clip(2.0 * (body_mass_index - 18) + rng.normal(0, 5), 5, 50))
    spasm = rng.random() < 0.45
    high_crest = rng.random() < 0.5
    return Patient(
        number=number,
        seed=seed,
        difficulty=difficulty,
        sex="M" if male else "F",
        age_years=age,
        height_m=round(height, 2),
        weight_kg=round(body_mass_index * height**2),
        scale=(1.04 if male else 0.98) * (1 + frame),
        rotation_deg=rotation,
        shift_mm=(float(shift[0]), float(shift[1])),
        fat_mm=fat,
        muscle=muscle,
        infiltration=infiltration,
        asymmetry=asymmetry,
        muscle_spasm=spasm,
        high_iliac_crest=high_crest,
        levels=tuple(
            _draw_level(i, generator(seed, number, "level", i), wear, difficulty, t, c)
            for i, (t, c) in enumerate(zip(tilts, centres, strict=True))
        ),
    )


def _draw_level(index, rng, wear, difficulty, tilt_deg, centre_mm) -> Level:
    normal = rng.standard_normal(16)
    effect = 1.25 - 0.5 * difficulty
    margin = 1.0 - 0.8 * difficulty
    spread = 0.5 + difficulty
    # Every latent below has unit variance, so the rates above hold exactly.
    damage = 0.7 * wear + np.sqrt(1 - 0.49) * normal[0]
    has_bulge = 0.75 * damage + 0.66 * normal[1] > ndtri(1 - _BULGE_RATE[index])
    has_protrusion = 0.35 * damage + 0.937 * normal[2] > ndtri(1 - _PROTRUSION_RATE[index])
    has_stenosis = 0.6 * damage + 0.8 * normal[3] > ndtri(1 - _STENOSIS_RATE[index])
    bulge = (
        effect * (BULGE_MM + margin + rng.gamma(2.5, 0.7))
        if has_bulge
        else rng.uniform(0, 0.4 + 0.8 * difficulty)
    )
    protrusion = effect * (2.6 + margin + rng.gamma(2.0, 1.0)) if has_protrusion else 0.0
    side = rng.choice([1.0, -1.0, 0.0], p=[0.4, 0.35, 0.25])
    offset = side * rng.uniform(5.0, 8.5) + (1 - abs(side)) * rng.uniform(-1.5, 1.5)
    stenosis = rng.uniform(0.65, 1.0) if has_stenosis else 0.35 * difficulty * rng.random()
    facets = [
        float(np.clip(0.25 + 0.2 * damage + 0.12 * normal[4] + 0.18 * n + 0.3 * stenosis, 0, 1))
        for n in normal[5:7]
    ]
    foramina = [
        float(
            np.clip(
                0.15 * bulge
                + 0.3 * facet
                + 0.16 * n
                + 0.3 * max(0.0, s * side) * has_protrusion
                - 0.08,
                0.0,
                1.0,
            )
        )
        for facet, n, s in zip(facets, normal[7:9], (1, -1), strict=True)
    ]
    degeneration = np.interp(
        0.85 * damage + 0.527 * normal[9],
        [-3.5, *(ndtri(c) for c in _GRADE_CUMULATIVE[index]), 3.5],
        [0.5, 1.5, 2.5, 3.5, 4.5, 5.5],
    )
    tear = bool(rng.random() < 0.09 and (has_bulge or has_protrusion))
    size = 1 + 0.04 * spread * normal[10]
    canal = 1 + 0.06 * spread * normal[11]
    height_mm = _DISC_HEIGHT_MM[index] * (1 + 0.06 * normal[12])
    return Level(
        name=LEVELS[index],
        disc_width_mm=float(_DISC_WIDTH_MM[index] * size),
        disc_depth_mm=float(_DISC_DEPTH_MM[index] * size * (1 + 0.03 * spread * normal[13])),
        disc_height_mm=float(height_mm - 1.5 * max(0.0, degeneration - 2.0)),
        concavity_mm=float(max(0.0, _CONCAVITY_MM[index] + 0.4 * spread * normal[14])),
        bulge_mm=float(bulge),
        protrusion_mm=float(protrusion),
        protrusion_offset_mm=float(offset) if has_protrusion else 0.0,
        protrusion_width_mm=float(rng.uniform(4.5, 6.5)) if has_protrusion else 0.0,
        degeneration=float(degeneration),
        annular_tear=tear,
        stenosis=float(stenosis),
        foraminal_left=foramina[0],
        foraminal_right=foramina[1],
        facet_left=facets[0],
        facet_right=facets[1],
        flavum_mm=float(np.clip(3.2 + 0.5 * damage + 2.0 * stenosis, 2.4, 7.0)),
        sac_width_mm=float(_SAC_WIDTH_MM[index] * canal * (1 - 0.32 * stenosis)),
        sac_depth_mm=float(_SAC_DEPTH_MM[index] * canal * (1 - 0.38 * stenosis)),
        sac_gap_mm=float(max(0.4, _SAC_GAP_MM[index] + 0.35 * spread * normal[15])),
        recess_mm=float(_RECESS_MM[index] * canal * (1 - 0.4 * stenosis)),
        tilt_deg=tilt_deg,
        centre_mm=centre_mm,
    )


def _spine_curve(tilts_deg, spacing_mm) -> list[tuple[float, float, float]]:
    """Disc centres down the lordosis: each step leaves square to the mean tilt of its two discs."""
    centres = [(0.0, 0.0, spacing_mm)]
    for above, below in itertools.pairwise(tilts_deg):
        tilt = np.deg2rad((above + below) / 2)
        _, y, z = centres[-1]
        centres.append(
            (0.0, float(y + spacing_mm * np.sin(tilt)), float(z - spacing_mm * np.cos(tilt)))
        )
    return centres
