"""Forms of common operations that exist for XLA's CPU compiler, beside the plain ones.

XLA's CPU compiler fuses no matrix product with what surrounds it, turns a reduction that is fused
with element-wise work into scalar code, and drops optimization barriers. `bench/form_pairs.py`
lists those that a bench can time alone, each with its plain one; a test holds values and gradients
equal, and `python -m lumbarclip_jax.bench.forms` times both with the installed jaxlib and says
which may go. docs/benchmarks/forms.md has the version that they were last measured on. All devices
run `normalisation`, where what a GPU alone needs says so.

What is a shape of the data flow rather than an operation stays where it flows (`models/layers.py`),
and what is set once for the process stands in `process/`: `xla_guard`, `host_memory`.
"""
