"""The `README.md` of an exported folder, made from the run: no number in it is typed by hand."""

import math
import pathlib

import jax
import jinja2

import lumbarclip_jax
from lumbarclip_jax.report import tables
from lumbarclip_jax.run import Run

FILE = "README.md"
TEMPLATES = pathlib.Path(__file__).parent / "cards"


def write(run: Run, folder: pathlib.Path, *, usage: str, **facts) -> None:
    """Writes the card.

    Args:
      run: what is described.
      folder: the exported folder.
      usage: the template of the section on using this format, which sees `facts` too.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    config = run.config.to_dict()
    card = environment.get_template("card.md.j2").render(
        usage=usage,
        version=lumbarclip_jax.__version__,
        jax_version=jax.__version__,
        steps=int(run.state.step),
        parameters={
            name: sum(leaf.size for leaf in jax.tree.leaves(tower))
            for name, tower in run.state.params.items()
        },
        temperature=math.exp(-float(run.state.params["logit_scale"])),
        config=config,
        flat_config=tables.flat(config),
        data=run.data_manifest,
        sections=tables.sections(run.metrics),
        **facts,
    )
    (folder / FILE).write_text(card, encoding="utf-8")
