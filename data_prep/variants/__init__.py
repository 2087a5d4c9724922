"""Reports that say one thing else: a finding denied or stated, left out, at another disc, on the
other side.

Made by rules from what the report labeller reads where, and read back by it: a variant that says
anything but the change that is meant is not given. `variants_of` is the way in.

The idea of telling a report from one that denies or omits a finding: Ko & Park, Bringing CLIP to
the Clinic, CVPR 2025, arXiv 2505.22079. Its variants are written by a language model; these are
not.
"""
