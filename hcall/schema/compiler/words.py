"""The table of words: names, notes and prose, for people and for programs that print.

Its arrays run beside those of the facts: the words of kParts[i] are kPartWords[i].
"""

import cpp
import layout
import resolve
from cpp import enumerator, init, quoted


def releases_of_types(releases):
    """The names of the releases that have a type so, by the type's key."""
    result = {}
    for release in releases:
        for type_ in [*release.handles.values(), *release.records.values()]:
            result.setdefault(resolve.type_key(type_), []).append(release.name)
    return result


def type_ids(facts, releases_of):
    """A name for each type that no other has: of one that a later release has otherwise, with the
    first release that has it so."""
    first = {}
    for key in releases_of:
        first.setdefault(key[0], key)
    return [type_.name if first.get(type_.name, key) == key else
            f"{type_.name}@{releases_of[key][0]}"
            for type_, key in zip(facts.type_list, map(resolve.type_key, facts.type_list))]


class Words:
    def __init__(self, facts, releases):
        self.facts, self.releases = facts, releases
        self.members, self.member_places = [], {}
        self.releases_of = releases_of_types(releases)
        self.ids = type_ids(facts, self.releases_of)

    def add_members(self, fields):
        lines = tuple(init(quoted(field.name), quoted(field.spelling), field.offset, field.size,
                           field.count, self.facts.type(field.type), field.is_array,
                           field.bit_offset, field.bit_width) for field in fields)
        if lines not in self.member_places:
            self.member_places[lines] = len(self.members)
            self.members += lines
        return self.member_places[lines]

    def type(self, type_, identifier):
        name = {value: key for key, value in layout.C_NAMES.items()}.get(type_.name, type_.name)
        return init(quoted(identifier), quoted(name), quoted(type_.header), type_.alignment,
                    self.facts.type(type_.element), self.add_members(type_.fields),
                    len(type_.fields), getattr(type_, "is_const", False))

    def part(self, part):
        member = self.add_members([part.field]) if part.field is not None else 0xffff
        naming = part.row.naming
        names = (naming and " ".join(naming.prefixes), naming and naming.scope,
                 naming and naming.excepted)
        return init(*map(quoted, (part.path, part.row.note, part.null, *names)),
                    enumerator("Naming", naming.kind if naming else "none"), member)

    def constants(self):
        """Each once, with the releases that have it so, in the order of the newest headers."""
        for (name, value, header, scope), names in merged_constants(self.releases).items():
            yield init(quoted(name), value if value > -2**63 else "(-9223372036854775807 - 1)",
                       quoted(header), quoted(scope), self.facts.mask(names))

    def text(self, whole_as_json):
        facts, registers, removed, hypercalls = self.facts, [], [], []
        for call in facts.table:
            hypercalls.append(init(quoted(call.row.name), quoted(call.row.about), len(registers),
                                   len(removed), len(call.removed)))
            registers += map(quoted, call.row.registers)
            removed += [init(number, *map(quoted, names)) for number, *names in call.removed]
        arrays = {
            "TypeWords kTypeWords": list(map(self.type, facts.type_list, self.ids)),
            "PartWords kPartWords": list(map(self.part, facts.part_list)),
            "Member kMembers": self.members,
            "char* const kAbout": [quoted(row.row.about if row is not None else "")
                                   for row in facts.record_list],
            "OpWords kOpWords": [init(*map(quoted, (op.row.name, op.constant, op.row.about,
                                                    op.row.returns))) for op in facts.op_list],
            "HypercallWords kHypercallWords": hypercalls, "char* const kRegisterNames": registers,
            "RemovedOp kRemovedOps": removed, "Constant kConstants": self.constants()}
        return cpp.source(
            "words.h", "words",
            "".join(cpp.array(*name.rsplit(" ", 1), lines) for name, lines in arrays.items()),
            "const std::size_t kConstantCount = std::size(kConstants);\n"
            f"const char kJson[] = R\"JSON({whole_as_json})JSON\";")


def merged_constants(releases):
    """By (name, value, header, scope) the names of the releases that have a constant so."""
    merged = {}
    for release in releases:
        for each in release.constants.values():
            merged.setdefault((each.name, each.value, each.header, each.scope),
                              []).append(release.name)
    return merged
