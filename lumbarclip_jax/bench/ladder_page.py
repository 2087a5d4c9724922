"""The page of a ladder."""

from lumbarclip_jax.bench import machine

LABELS = {
    "forward": "forward pass",
    "backward": "+ backward pass",
    "optimizer": "+ optimizer",
    "loss": "+ loss over gathered negatives",
    "augmentation": "+ augmentation",
    "memory": "+ input from memory",
    "shards": "+ input from shards",
}
GIB = 2**30


def render(row: dict) -> str:
    """Markdown of what `ladder_row.measure` returns, and of the command."""
    rates, tokens, protocol = row["flops_per_s_a_device"], row["tokens"], row["protocol"]
    versions = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
    lines = [
        f"# {row['config']} on {row['devices']} x {row['device']}",
        "",
        f"    {row['command']}",
        "",
        f"{row['global_batch_size']} pairs a step, {row['image_size_px']} px, "
        f"{row['max_tokens']} tokens of which {tokens['useful_per_text']:.1f} are no padding, "
        f"{row['dtype']}, {row['data']} data. {versions}. "
        f"{machine.sentence(row['machine'])}. Medians of {protocol['repeats']} repeats of "
        f"{protocol['steps']} steps, all rungs in turn, after {protocol['warmup_steps']} of each.",
        "",
        f"Matrix products of the model alone: {rates['measured'] / 1e12:.3g} TFLOP/s a device"
        + (f", published {rates['published'] / 1e12:.4g}." if rates["published"] else "."),
        "",
        "| rung | ms | least – most | pairs/s | MFU of products | MFU of published | useful "
        "| compile s | peak GiB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, label in LABELS.items():
        if name not in row["rungs"]:
            lines.append(f"| {label} |" + " not measured |" + " |" * 7)
            continue
        rung = row["rungs"][name]
        lines.append(
            f"| {label} | {rung['median_s'] * 1e3:.4g} "
            f"| {rung['min_s'] * 1e3:.4g} – {rung['max_s'] * 1e3:.4g} "
            f"| {rung['pairs_per_s']:.4g} | {_percent(rung['padded_mfu']['measured'])} "
            f"| {_percent(rung['padded_mfu']['published'])} "
            f"| {_percent(rung['useful_mfu']['measured'])} "
            f"| {_or_nothing(rung['compile_s'], 1)} | {_or_nothing(rung['peak_bytes'], GIB)} |"
        )
    efficiency = row["input_efficiency"]
    if efficiency is not None:
        lines += [
            "",
            f"Input efficiency, steps fed from shards against steps on resident pixels: "
            f"{_percent(efficiency)}.",
        ]
    return "\n".join(lines) + "\n"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _or_nothing(value: float | None, unit: float) -> str:
    return "" if value is None else f"{value / unit:.2f}"
