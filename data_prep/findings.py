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
LEVEL_FINDINGS = FINDINGS[:8]

STATUS = {"not_mentioned": 0, "present": 1, "absent": 2, "uncertain": 3}
