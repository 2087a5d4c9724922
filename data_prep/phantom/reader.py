"""What a radiologist makes of a patient: the true parameters seen with an imperfect eye."""

import dataclasses

from data_prep.phantom.anatomy import (
    BULGE_MM,
    EXTRUSION_MM,
    FACET_HYPERTROPHY,
    FORAMINAL_NARROWING,
    INDENTATION_MM,
    PROTRUSION_MM,
    STENOSIS,
)


@dataclasses.dataclass(frozen=True)
class Sight:
    """What the reader makes of one level: names of findings, and the words' degrees."""

    name: str
    lesion: tuple[str, ...]  # of bulge, protrusion, extrusion
    size: int  # 0 small .. 2 large
    side: str  # of the protrusion, or ""
    sac: int  # 0 free, 1 touched, 2 indented, 3 effaced
    roots: str  # "", left, right, both
    stenosis: bool
    facet: bool
    tear: bool
    grade: float


def look(level, difficulty, rng) -> Sight:
    """A reader's impression: truth plus noise that matters near the thresholds, and now and then
    a level passed over."""

    def seen(value, noise):
        return value + noise * difficulty * rng.normal()

    missed = rng.random() < 0.06 * difficulty
    bulge, protrusion = seen(level.bulge_mm, 0.5), seen(level.protrusion_mm, 0.6)
    lesion = []
    if bulge >= BULGE_MM:
        lesion.append("disc_bulge")
    if protrusion >= PROTRUSION_MM:
        lesion.append("disc_extrusion" if protrusion >= EXTRUSION_MM else "disc_protrusion")
    worst = max(bulge / 4.5, protrusion / 6.5)
    indentation = seen(level.sac_indentation_mm, 0.5)
    narrow = tuple(
        seen(level.root_narrowing(side), 0.15) >= FORAMINAL_NARROWING for side in ("left", "right")
    )
    sight = Sight(
        name=level.name,
        lesion=tuple(lesion),
        size=0 if worst < 0.62 else 1 if worst < 1.0 else 2,
        side=level.side or "central",
        sac=sum(indentation >= limit for limit in (INDENTATION_MM, 1.3, 4.5)),
        roots={(1, 1): "both", (1, 0): "left", (0, 1): "right", (0, 0): ""}[narrow],
        stenosis=seen(level.stenosis, 0.1) >= STENOSIS,
        facet=seen(max(level.facet_left, level.facet_right), 0.1) >= FACET_HYPERTROPHY,
        tear=level.annular_tear and rng.random() < 0.85,
        grade=seen(level.degeneration, 0.4),
    )
    # What a disc does to sac and roots is only told of a disc found out of place.
    sound = missed or not lesion
    return dataclasses.replace(sight, lesion=(), sac=0, roots="") if sound else sight
