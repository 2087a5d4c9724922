"""What a classification of low back pain is worth, beside what needs no image to say the same.

The authors' public code of LumbarCLIP (lethanhbinhxq/Lumbar-MedCLIP) classifies patients as "No
Finding" or "LBP" on a split of its own. Here the question is asked as it is there, and of all that
could answer it: `answers` has the ways, `plan` the runs, `page` what is written of them.
"""
