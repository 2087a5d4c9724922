"""Records the tiny PyTorch references: `python -m tests.golden.make_golden` writes *.npz here.

Needs torch and transformers. Recorded with torch 2.13.0 and transformers 5.23.0.
"""

from pathlib import Path

import numpy as np

from tests.golden import reference
from tests.golden.cases import CASES, inputs


def main() -> None:
    for name, case in CASES.items():
        model = reference.tiny_model(name).train(case.train)
        path = Path(__file__).with_name(f"{name}.npz")
        np.savez_compressed(path, **reference.run(model, inputs(case)))
        print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
