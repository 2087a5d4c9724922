"""The note of the radiologist, with hedges and typing slips. The findings it states are recorded
as it is written."""

import dataclasses
import re

from data_prep.phantom import phrases
from data_prep.phantom.anatomy import Patient
from data_prep.phantom.reader import look
from data_prep.records.findings import FINDINGS, LEVEL_FINDINGS, STRENGTH

EMPTY_RATE = 0.10


@dataclasses.dataclass
class Report:
    """The note as typed ("" for an empty cell) and what it says: a status per finding spoken of,
    and the findings present at each level it names."""

    text: str
    findings: dict[str, str] = dataclasses.field(default_factory=dict)
    levels: dict[str, list[str]] = dataclasses.field(default_factory=dict)

    def say(self, status: str, *names: str, levels=()) -> None:
        """Records a statement: present beats uncertain beats absent."""
        for name in names:
            said = self.findings.get(name, "absent")
            self.findings[name] = max(said, status, key=STRENGTH.index)
            for level in levels if status == "present" and name in LEVEL_FINDINGS else ():
                at_level = self.levels.setdefault(level, [])
                if name not in at_level:
                    at_level.append(name)

    def in_order(self) -> "Report":
        """The same with findings and levels in the schema's order."""
        return Report(
            self.text,
            {name: self.findings[name] for name in FINDINGS if name in self.findings},
            {
                level: sorted(self.levels[level], key=FINDINGS.index)
                for level in sorted(self.levels)
            },
        )


def write_report(patient: Patient) -> Report:
    """The note on `patient`: about one in ten is left empty."""
    rng = patient.rng("report")
    if rng.random() < EMPTY_RATE:
        return Report("")
    writer = _Writer(patient, rng)
    sights = [look(level, patient.difficulty, rng) for level in patient.levels]
    writer.write(sights)
    report = writer.report
    report.text = "\n".join(writer.lines)
    return report.in_order()


class _Writer:
    """Collects the lines of one note; its habits are drawn once."""

    def __init__(self, patient, rng):
        self.patient, self.rng = patient, rng
        self.report, self.lines = Report(""), []
        self.notation, self.join = self.pick(phrases.NOTATIONS), self.pick(phrases.JOINS)
        self.by_level = rng.random() < 0.35
        self.separator = self.pick(("\n", " // ", "/// ", "\n"))

    def pick(self, variants):
        return variants[int(self.rng.integers(len(variants)))]

    def chance(self, probability) -> bool:
        return bool(self.rng.random() < probability)

    def add(self, text):
        self.lines.append(self.mistype(text[0].upper() + text[1:]))

    def named(self, levels) -> str:
        """Level names as this reader writes them, e.g. "L4/5 & L5/S1"."""
        names = []
        for level in levels:
            upper, lower = level.split("-")
            shorten = lower[1:] if self.notation.endswith("{1:.1}") and lower[0] == "L" else lower
            names.append(self.notation.replace("{1:.1}", "{1}").format(upper, shorten))
        return self.join.join(names)

    def write(self, sights):
        if self.chance(0.6):
            self.lines.append(phrases.HEADERS[int(self.rng.choice(5, p=[0.4, 0.3, 0.1, 0.1, 0.1]))])
        if self.patient.muscle_spasm:
            self.report.say("present", "muscle_spasm")
            self.lines.append(self.pick(phrases.SPASM))
        self.write_degeneration(sights)
        displaced = [s for s in sights if s.lesion]
        if displaced:
            self.write_lesions(displaced)
            self.write_details(sights)
            self.write_denials(sights)
        else:
            self.write_details(sights)
            self.write_normal(sights)

    def write_degeneration(self, sights):
        """Named twice as often as in real notes: a grade nobody names could not be learnt from."""
        worn = [s.name for s in sights if s.grade >= 3]
        if not worn or not self.chance(0.85):
            return
        self.report.say("present", "disc_degeneration")
        if self.chance(0.85):
            self.add(self.pick(phrases.DEGENERATION_AT).format(levels=self.named(worn)))
        else:
            self.add(self.pick(phrases.DEGENERATION))

    def write_lesions(self, displaced):
        """One statement a group of levels that look alike, or all under the worst one."""
        worst = max(displaced, key=lambda s: (s.size, s.sac))
        bulges_alone = all(s.lesion == ("disc_bulge",) for s in displaced)
        if len(displaced) > 1 and bulges_alone and self.chance(0.3):
            most = self.pick(("most marked at", "mainly at", "largest at"))
            lesion = f"multilevel {self.pick(phrases.SHAPES)}disc bulges, {most} "
            self.add(lesion + self.named([worst.name]) + self.effects([worst]) + ".")
            return
        groups = {}
        for sight in displaced:
            alike = (sight.lesion, sight.size, sight.side, sight.sac, sight.roots)
            groups.setdefault(sight.name if self.by_level else alike, []).append(sight)
        statements = [self.lesion_statement(group) for group in groups.values()]
        if self.by_level:
            self.lines.append(self.separator.join(self.mistype(s) for s in statements))
        else:
            for statement in statements:
                self.add(statement)

    def lesion_statement(self, group):
        lesion = self.lesion_words(group[0], plural=len(group) > 1)
        levels = self.named([s.name for s in group])
        if self.by_level:
            return f"{levels}: {lesion[0].upper()}{lesion[1:]}{self.effects(group)}."
        seen = self.pick((" seen at ", " is noted at ", " at "))
        if len(group) > 1:
            seen = seen.replace(" is ", " are ")
        return f"{lesion}{seen}{levels}{self.pick((' level', ''))}{self.effects(group)}."

    def lesion_words(self, sight, plural):
        ending = "s" if plural else ""
        size = self.pick(phrases.SIZES[sight.size])
        focal = self.pick(phrases.SIDES[sight.side])
        bulge = f"{self.pick(phrases.SHAPES)}disc bulge{ending}"
        if sight.lesion == ("disc_bulge",):
            return size + bulge
        focal += f"disc {sight.lesion[-1].removeprefix('disc_')}{ending}"
        return size + focal if len(sight.lesion) == 1 else f"{bulge} with {size}{focal}"

    def effects(self, group):
        """ ", indenting the thecal sac and ...": records the whole statement on the way."""
        sight, levels = group[0], [s.name for s in group]
        self.report.say("present", *sight.lesion, levels=levels)
        parts = []
        if sight.sac:
            self.report.say("present", "thecal_sac_compression", levels=levels)
            parts.append(self.pick(phrases.SAC[sight.sac - 1]))
        if sight.roots:
            self.report.say("present", "nerve_root_compression", levels=levels)
            # After a firm verb the roots can share it; a sac merely touched needs a second one.
            shared = sight.sac >= 2 and self.chance(0.6)
            verb = "" if shared else self.pick(phrases.NARROWING)
            parts.append(verb + self.pick(phrases.ROOTS[sight.roots]))
        return (self.pick((", ", " ")) if parts else "") + " and ".join(parts)

    def write_details(self, sights):
        self.detail(sights, "stenosis", phrases.STENOSIS, "canal_stenosis", 0.9)
        self.detail(sights, "facet", phrases.FACET, "facet_or_flavum_hypertrophy", 0.3)
        torn = [s.name for s in sights if s.tear]
        if torn:
            firm = self.chance(0.85)
            variants = phrases.TEAR if firm else phrases.MAYBE_TEAR
            self.report.say("present" if firm else "uncertain", "annular_tear", levels=torn)
            self.add(self.pick(variants).format(levels=self.named(torn)))
        oldest = max(s.grade for s in sights)
        for variants, finding, rate in (
            (phrases.SPONDYLOSIS, "spondylosis", 0.2 if oldest >= 4 else 0.02),
            (phrases.SCHMORL, "schmorl_node", 0.03),
            (phrases.MARROW, "marrow_lesion", 0.04),
        ):
            if self.chance(rate):
                self.report.say("present", finding)
                self.add(self.pick(variants))

    def detail(self, sights, attribute, variants, finding, rate):
        levels = [s.name for s in sights if getattr(s, attribute)]
        if levels and self.chance(rate):
            self.report.say("present", finding, levels=levels)
            text = self.pick(variants)
            if "flavum" in text:
                self.report.say("present", "facet_or_flavum_hypertrophy")
            self.add(text.format(levels=self.named(levels)))

    def write_denials(self, sights):
        if not any(s.sac or s.roots for s in sights) and self.chance(0.75):
            self.report.say("absent", "thecal_sac_compression", "nerve_root_compression")
            self.add(self.pick(phrases.NO_COMPRESSION))
        if not any(s.stenosis for s in sights) and self.chance(0.15):
            self.report.say("absent", "canal_stenosis")
            self.add(self.pick(phrases.NO_STENOSIS))

    def write_normal(self, sights):
        index = int(self.rng.choice(len(phrases.NORMALS), p=[0.4, 0.25, 0.15, 0.12, 0.08]))
        text, denied = phrases.NORMALS[index]
        if "canal_stenosis" in denied and any(s.stenosis for s in sights):
            text, denied = phrases.NORMALS[0]
        self.report.say("absent", *denied)
        self.lines.append(text)

    def mistype(self, text):
        """Swaps, drops or doubles a letter of a long word now and then; never of a level or side,
        which would change the meaning."""
        rate = 0.012 + 0.02 * self.patient.difficulty

        def slip(match):
            word = match[0]
            if not self.chance(rate):
                return word
            at = int(self.rng.integers(1, len(word) - 2))
            swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
            return self.pick(
                (swapped, word[:at] + word[at + 1 :], word[:at] + word[at : at + 1] + word[at:])
            )

        return re.sub(r"\b[A-Za-z]{6,}\b", slip, text)
