"""The words of the reports: short variants of one meaning, chosen by a reader's habits."""

HEADERS = ("LSS MRI", "LSS MRI :", "Lumbosacral MRI", "MRI of lumbar spine", "L/S spine MRI:")

SPASM = (
    "Muscle spasm.",
    "Signs of muscle spasm.",
    "Loss of lumbar lordosis due to muscle spasm.",
)

# (text, what it denies). The first ones are favourites, repeated word for word.
NORMALS = (
    (
        "No disc herniation is seen.\nThecal sac and nerve roots are free of compression.",
        ("disc_herniation", "thecal_sac_compression", "nerve_root_compression"),
    ),
    (
        "No disc herniation.\nNo compression of the thecal sac or of the nerve roots.\n"
        "Spinal canal of adequate width.",
        (
            "disc_herniation",
            "thecal_sac_compression",
            "nerve_root_compression",
            "canal_stenosis",
        ),
    ),
    (
        "Discs show no herniation or protrusion.\nThe thecal sac is not compressed.",
        ("disc_herniation", "disc_protrusion", "thecal_sac_compression"),
    ),
    (
        "No significant disc lesion, the sac and exit foramina are preserved.\n"
        "The spinal canal is adequate.",
        ("thecal_sac_compression", "nerve_root_compression", "canal_stenosis"),
    ),
    (
        "Lumbar discs are within normal limits, herniation is not seen, nerve roots are free.",
        ("disc_herniation", "nerve_root_compression"),
    ),
)

NO_COMPRESSION = (
    "The thecal sac and nerve roots are not significantly compressed.",
    "No notable compression of sac or nerve roots.",
    "Without significant thecal sac or root compression.",
)
NO_STENOSIS = (
    "Spinal canal remains adequate.",
    "Canal of adequate width.",
    "No spinal canal narrowing.",
)

DEGENERATION = (
    "Desiccated disc material.",
    "Dehydration of the lower lumbar discs.",
    "Degenerative disc signal loss with reduced disc height.",
)
DEGENERATION_AT = (
    "Disc desiccation at {levels}.",
    "Narrowed dehydrated disc space at {levels}.",
)
FACET = (
    "Facet joint hypertrophy at {levels}.",
    "Facet arthropathy with thick ligamentum flavum at {levels}.",
)
STENOSIS = (
    "Secondary spinal canal stenosis at {levels}.",
    "Hypertrophied facets and ligamentum flavum narrow the spinal canal at {levels}.",
)
TEAR = ("Annular tear at {levels}.", "High intensity annular fissure at {levels}.")
MAYBE_TEAR = ("Suspicious small annular tear at {levels}.", "? annular fissure at {levels}.")

SIZES = (("mild ", "small "), ("", ""), ("large ", "marked "))
SHAPES = ("diffuse ", "broad based ", "annular ", "")
SIDES = {
    "left": ("Lt paracentral ", "left paracentral ", "left posterolateral "),
    "right": ("Rt paracentral ", "right paracentral ", "right posterolateral "),
    "central": ("central ", "midline "),
}
# By how far the sac is pushed in.
SAC = (
    ("abutting the thecal sac", "touching the thecal sac"),
    ("indenting the thecal sac", "compressing the thecal sac", "pressing on the theca"),
    ("effacing the thecal sac", "markedly compressing the thecal sac"),
)
ROOTS = {
    "both": ("both nerve roots", "the exit foramina", "both neural foramina"),
    "left": ("the Lt nerve root", "the left exit foramen", "left nerve root"),
    "right": ("the Rt nerve root", "the right exit foramen", "right nerve root"),
}
NARROWING = ("narrowing ", "encroaching on ")

SCHMORL = ("Schmorl's nodes at upper lumbar end plates.", "Multiple Schmorl's nodes.")
MARROW = ("Small hemangioma of the L1 body.", "Vertebral hemangioma at L2.")
SPONDYLOSIS = ("Spondylotic changes with marginal osteophytes.", "Spondylotic lipping.")

NOTATIONS = ("{0}-{1}", "{0}/{1}", "{0}-{1:.1}", "{0}/{1:.1}")
JOINS = (" & ", " and ", ", ")
