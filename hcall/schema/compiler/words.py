"""The table of words: names, notes and prose, for people and for programs that print.

Its arrays run beside those of the facts: the words of kParts[i] are kPartWords[i].
"""

import collections

import cpp
import facts
import resolve
import rows
from cpp import enumerator, init, quoted


def local(of):
    return enumerator("Local", of.what), of.is_made, of.is_or_next, of.bits or 0


class Words:
    """`releases_of` and `constants`: names of the releases that have a type, by its key, and a
    constant so. `ids`: a name for each type that no other has."""

    def __init__(self, all_facts, releases):
        self.facts, self.members = all_facts, facts.Array()
        self.releases_of = collections.defaultdict(list)
        self.constants = collections.defaultdict(list)
        for release in releases:
            for type_ in [*release.handles.values(), *release.records.values()]:
                self.releases_of[resolve.type_key(type_)].append(release.name)
            for constant in release.constants.values():
                self.constants[constant].append(release.name)
        first = {}
        for key in self.releases_of:
            first.setdefault(key[0], key)
        # What a later release has otherwise is called after the first release that has it so.
        self.ids = [key[0] if first.get(key[0], key) == key else
                    f"{key[0]}@{self.releases_of[key][0]}" for key in self.facts.types.places]

    def member(self, fields):
        """The index of the first of them."""
        return self.members.add_all(
            [init(quoted(field.name), quoted(field.spelling), field.offset, field.size,
                  field.count, self.facts.type(field.type), field.is_array, field.bit_offset,
                  field.bit_width) for field in fields])

    def type(self, type_, identifier):
        name = getattr(type_, "c_name", type_.name)
        return init(quoted(identifier), quoted(name), quoted(type_.header), type_.alignment,
                    self.facts.type(type_.element), self.member(type_.fields), len(type_.fields),
                    type_.is_const)

    def part(self, part):
        row, naming = part.row, part.row.naming
        kind, *names = ((naming.kind, " ".join(naming.prefixes), naming.scope, naming.excepted)
                        if naming else ("none", None, None, None))
        return init(*map(quoted, (part.path, row.note, part.null, *names)),
                    enumerator("Naming", kind), *local(part.local),
                    self.member([part.field]) if part.field is not None else facts.NONE)

    def op(self, op):
        returns, its_local = op.row.returns or (None, rows.Local())
        return init(*map(quoted, (op.row.name, op.constant, op.row.about, returns)),
                    *local(its_local)[:2])

    def constant(self, constant, names):
        value = constant.value if constant.value > -2**63 else "(-9223372036854775807 - 1)"
        return init(quoted(constant.name), value, quoted(constant.header), quoted(constant.scope),
                    self.facts.mask(names))

    def text(self, whole_as_json):
        registers, removed, hypercalls = [], [], []
        for call in self.facts.table:
            hypercalls.append(init(quoted(call.row.name), quoted(call.row.about), len(registers),
                                   len(removed), len(call.removed)))
            registers += map(quoted, call.row.registers)
            removed += [init(number, *map(quoted, names)) for number, *names in call.removed]
        return cpp.source("words.h", "words", {
            "TypeWords kTypeWords": list(map(self.type, self.facts.types.of, self.ids)),
            "PartWords kPartWords": list(map(self.part, self.facts.parts.of)),
            "Member kMembers": self.members.rows,
            "char* const kAbout": [quoted(each.row.about) for each in self.facts.records.of],
            "OpWords kOpWords": list(map(self.op, self.facts.ops.of)),
            "HypercallWords kHypercallWords": hypercalls, "char* const kRegisterNames": registers,
            "RemovedOp kRemovedOps": removed,
            "Constant kConstants": map(self.constant, self.constants, self.constants.values())},
            "const std::size_t kConstantCount = std::size(kConstants);\n"
            f"const char kJson[] = R\"JSON({whole_as_json})JSON\";")
