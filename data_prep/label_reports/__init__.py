"""Findings from report texts, by rules that a clinician can read and edit.

The rules are the TOML files in ``rules/``; the code knows no medical word. A text goes through

    sections    parts of the report, sentences                    (sections)
    languages   which sentences are English                       (languages)
    tokens      words, signs, spelling, disc levels               (tokens, spelling, levels)
    items       levels that repeat or except a finding            (items)
    mentions    which finding is stated where                     (phrases, mentions)
    assertion   stated, denied or hedged (NegEx: Chapman et al., J Biomed Inform 2001;34:301-310)
    statements  at which level, of which region                   (places, statements)
    reader      the findings of the report
"""
