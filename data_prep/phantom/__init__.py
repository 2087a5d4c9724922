"""A seeded lumbar phantom: invented patients whose axial MRI and reports agree.

`generate.generate(out, patients, seed, difficulty)` or `python -m data_prep.make_phantom` writes a
cohort in the folder layout of the published lumbar set (Sudirman et al. 2019): DICOM files under
`01_MRI_Data`, `Radiologists Report.xlsx`, `PfirrmannGrade.csv`, and, because here it is known, what
each report says (`report_findings.jsonl`) and what is true (`phantom_truth.csv`).

Modelled
    Axial T1 and T2 slices (320 x 320, 0.6875 mm) through L3-L4, L4-L5 and L5-S1, drawn with signed
    distances: disc and end-plates, thecal sac with its roots, epidural and foraminal fat, exiting
    roots, ligamenta flava, facet joints, laminae and spinous process, psoas, quadratus lumborum and
    back muscles with fatty streaks, iliac wings and sacral ala, great vessels, bowel, subcutaneous
    fat, skin. Lesions are continuous: diffuse bulge, protrusion and its side, canal stenosis,
    foraminal narrowing and facet hypertrophy of each side, annular tear, disc degeneration. Bodies
    differ in size, sex, age, fat, muscle, position, rotation and shape. The scanner adds surface
    coil shading, a front saturation band, motion ghosts and Rician noise. Reports name what a
    reader would see, in varying notation, with omissions near the thresholds, hedges, typing slips,
    normal texts that repeat word for word, and about one empty cell in ten.
    The patient's left is on the image's right.

Not modelled
    Spondylolisthesis, fractures, operated spines, scoliosis, tumours, transitional vertebrae,
    Modic changes; true k-space physics, chemical shift, flow. Muscle spasm, Schmorl's nodes,
    haemangiomas and spondylosis are reported but not drawn: they are negative controls. The slices
    of one disc share the tissue around the spine. The sagittal series is a sketch.

The map: `anatomy` parameters and priors, `shapes` distances and random fields, `canvas` tissues,
`surround` and `spine` the drawing, `render` one block of slices, `sagittal` the other views,
`acquisition` the scanner, `geometry` planes in the patient, `identities` planted names,
`dicom_files` and `study` the files, `reader`, `reports` and `phrases` the notes, `tables` the
sheets, `generate` the set, `embedded` the data set in the cache.
"""
