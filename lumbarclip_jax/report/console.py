"""What a command says of its numbers: some ten lines; all others are in its files."""

import logging
from collections.abc import Iterator, Mapping

from lumbarclip_jax.report import by_class, order, tables
from lumbarclip_jax.report.tables import Row

ROWS = 10
# After the headlines of the page, while there is room.
NEXT = (
    *("auroc", "auroc_within_level", "recall_at_5", "precision_at_5"),
    *("quadratic_kappa", "macro_f1"),
)
NEXT_OF = {"alignment": "accuracy"}  # evaluators that have none of these, and what they have

log = logging.getLogger(__name__)


def log_summary(metrics: Mapping[str, float]) -> None:
    """Logs the first numbers of a measurement as a table, and how many more there are."""
    for line in summary(metrics):
        log.info("%s", line)
    log.info("%d numbers in all; intervals are over patients", len(metrics))


def summary(metrics: Mapping[str, float]) -> list[str]:
    """The lines of the table: name in the file, value, 95 % interval and chance."""
    arranged = tables.sections(order.ordered(dict(metrics)))
    first = {
        str(table.name_of(section, row)): _numbers(row)
        for section, _, table, row in [*tables.headlines(arranged), *_next(arranged)]
    }
    if not first:
        return []
    lines = [("", "value", "95 % interval", "chance")]
    lines += [(name, *numbers) for name, numbers in list(first.items())[:ROWS]]
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    return [
        f"{name:{widths[0]}}  {value:>{widths[1]}}  {interval:>{widths[2]}}  {chance:>{widths[3]}}"
        for name, value, interval, chance in lines
    ]


def _next(arranged: list[tables.Section]) -> Iterator[tuple]:
    for section in arranged:
        for task in section.tasks.values():
            for table in task.tables.values():
                for row in table.rows:
                    measures = (*NEXT, NEXT_OF.get(section.evaluator))
                    shown = row.measure in measures and not by_class.is_of_one(section, table)
                    if shown and row.low is not None:
                        yield section, task, table, row


def _numbers(row: Row) -> tuple[str, str, str]:
    chance = "" if row.chance is None else row.show(row.chance)
    return _plain(row.show(row.value)), _plain(row.interval), _plain(chance)


def _plain(text: str) -> str:
    """In the letters that every terminal has."""
    return text.replace(tables.PERCENT, " %").replace(tables.MINUS, "-").replace(" – ", " to ")
