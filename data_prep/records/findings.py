"""What a report can say of a spine: the names behind a record's label vectors, and their codes."""

FINDINGS = (
    "disc_bulge",
    "disc_protrusion",
    "disc_extrusion",
    "disc_herniation",
    "thecal_sac_compression",
    "nerve_root_compression",
    "canal_stenosis",
    "annular_tear",
    "disc_degeneration",
    "facet_or_flavum_hypertrophy",
    "spondylosis",
    "schmorl_node",
    "spondylolisthesis",
    "fracture",
    "muscle_spasm",
    "marrow_lesion",
    "postoperative",
)
# Those that a record has for its own level.
LEVEL_FINDINGS = FINDINGS[:8]
# Those that a report places at a disc; others are of a vertebra, of many, or of none.
LOCATED_FINDINGS = (
    *LEVEL_FINDINGS,
    "disc_degeneration",
    "facet_or_flavum_hypertrophy",
    "spondylolisthesis",
)

# The codes in records: never to be changed, since data sets hold them.
NOT_MENTIONED, PRESENT, ABSENT, UNCERTAIN = range(4)
STATUS = {
    "not_mentioned": NOT_MENTIONED,
    "present": PRESENT,
    "absent": ABSENT,
    "uncertain": UNCERTAIN,
}
# Of several statements on one finding the strongest counts, which is the last of these.
STRENGTH = ("absent", "uncertain", "present")
