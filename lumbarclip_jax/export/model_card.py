"""The `README.md` of an exported folder, made from the run: no number in it is typed by hand."""

import math
import pathlib

import jax
import jinja2

import lumbarclip_jax
from lumbarclip_jax.evaluators.suite import BY_STUDY
from lumbarclip_jax.report import order, tables
from lumbarclip_jax.run_folder.run import Run

FILE = "README.md"
TEMPLATES = pathlib.Path(__file__).parent / "cards"


def write(run: Run, folder: pathlib.Path, *, library: str, usage: str, **facts) -> None:
    """Writes the card.

    Args:
      run: what is described.
      folder: the exported folder.
      library: the package that reads the folder, as the Hugging Face hub names it.
      usage: the template of the section on using this format, which sees `facts` too.
    """
    config = run.config.to_dict()
    encoders = (config["model"][name] for name in ("image_encoder", "text_encoder"))
    sections = tables.sections(order.ordered(run.metrics))
    render(
        folder,
        "card.md.j2",
        library=library,
        usage=usage,
        steps=int(run.state.step),
        parameters={
            name: sum(leaf.size for leaf in jax.tree.leaves(tower))
            for name, tower in run.state.params.items()
        },
        temperature=math.exp(-float(run.state.params["logit_scale"])),
        config=config,
        flat_config=tables.flat(config),
        data=run.data_manifest,
        pretrained=[encoder["pretrained"] for encoder in encoders if encoder["pretrained"]],
        headlines=tables.headlines(sections),
        by_study=BY_STUDY in run.metrics,
        sections=sections,
        **facts,
    )


def render(folder: pathlib.Path, template: str, **facts) -> None:
    """Writes a card from one of `TEMPLATES`, which sees the facts and the versions at work."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    card = environment.get_template(template).render(
        version=lumbarclip_jax.__version__, jax_version=jax.__version__, **facts
    )
    (folder / FILE).write_text(card, encoding="utf-8")
