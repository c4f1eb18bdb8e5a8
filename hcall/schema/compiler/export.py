"""The whole table as JSON, for programs in other languages. op_table.schema.json describes it."""

import json

import resolve
import words as prose


def given(**values):
    """Those of some members that say something."""
    return {key: value for key, value in values.items() if value not in (None, False, 0, "", [])}


def shape(field):
    result = {"count": field.count} if field.is_array else {}
    if field.bit_width:
        result |= {"bit_offset": field.bit_offset, "bit_width": field.bit_width}
    return result


def word(text):
    return text.replace(" ", "_")


class Export:
    def __init__(self, facts, words):
        self.facts, self.words = facts, words

    def id(self, type_):
        return self.words.ids[self.facts.type(type_)]

    def name_of(self, ref, parts, registers, beside):
        """The field at a place; where cases have fields of their own, that of the same case."""
        if registers:
            return registers[ref.offset // resolve.REGISTER_SIZE]
        fitting = [part for part in parts
                   if (part.offset, part.size) == (ref.offset, ref.size) and not part.row.overlays]
        same = [part for part in fitting if beside is not None and part.tests == beside.tests]
        return (same or fitting)[-1 if same else 0].path if fitting else f"byte {ref.offset}"

    def count(self, amount, part, parts, registers):
        result = {"kind": amount.kind}
        if amount.kind in ("number", "range"):
            result |= {key: self.name_of(ref, parts, registers, part)
                       for key, ref in (("a", amount.a), ("b", amount.b)) if ref.size}
        if amount.kind == "until_zero":
            result["a"] = next((field.name for field in part.element.fields
                                if field.offset == amount.a.offset), "")
        if amount.kind in ("number", "inside"):
            result |= {"scale": amount.scale, "per": amount.per}
        if amount.kind == "inside":
            result["at"] = amount.at
        return result | given(most=amount.most, least=amount.least, more=amount.more)

    def part(self, part, parts, registers):
        row = part.row
        result = {"path": part.path, "offset": part.offset, "size": part.size}
        if part.field is not None:
            result |= {"spelling": part.field.spelling} | shape(part.field)
        result |= {"type": self.id(part.type), "direction": word(part.direction)}
        if row.phase != "both":
            result["phase"] = row.phase
        result |= given(when=[
            {"field": self.name_of(test.field, parts, None, None), "values": list(test.values)} |
            given(flags=test.is_flags) | ({"not": True} if test.is_not else {})
            for test in part.tests])
        if part.element is not None:
            buffer = result["buffer"] = {"element": self.id(part.element)}
            buffer["room"] = self.count(part.room, part, parts, registers)
            if part.filled.kind != "none":
                buffer["filled"] = self.count(part.filled, part, parts, registers)
            if part.null is not None:
                buffer["null"] = part.null
            buffer["lifetime"] = "until_replaced" if row.until_replaced else "call"
            buffer |= given(trailing=row.trailing, address_bits=row.address_bits,
                            second_null=part.second_null)
        result |= given(number_bits=row.low_bits and (1 << row.low_bits) - 1, note=row.note)
        if row.naming is not None:
            result["constants"] = {
                "prefix": " ".join(row.naming.prefixes), "kind": row.naming.kind,
                **given(scope=row.naming.scope), **given(**{"except": row.naming.excepted})}
        return result

    def parts(self, parts, registers=None):
        return [self.part(part, parts, registers) for part in parts if part.row.overlays is None]

    def op(self, op):
        result = {"name": op.row.name, "number": op.number, **given(constant=op.constant),
                  "releases": op.releases, **given(stable=op.is_stable), "about": op.row.about,
                  **given(returns=op.row.returns),
                  "registers": self.parts(op.registers, op.call.registers)}
        if op.argument is not None:
            result["argument"] = {
                "type": self.id(op.argument), "own_type": self.id(op.own),
                "own_offset": op.own_offset, "direction": word(op.direction),
                "fields": self.parts(op.parts)}
        return result | given(buffers=[self.part(part, op.parts, None) for part in op.buffers])

    def hypercall(self, call):
        row = call.row
        result = {"name": row.name, "number": call.number, "about": row.about,
                  "registers": row.registers, "op_place": word(row.op_place)}
        if call.op_mask != 2**64 - 1:
            result["op_mask"] = call.op_mask
        result |= given(versions=[{"version": version, "releases": call.versions[version]}
                                  for version in sorted(call.versions)],
                        holds_calls=row.holds_calls)
        removed = [{"name": name, "number": number, "words": words}
                   for number, name, _, words in call.removed]
        return result | {"ops": list(map(self.op, call.ops))} | given(removed=removed)

    def type(self, type_):
        result = {"name": type_.name}
        if type_.is_record:
            result["header"] = type_.header
        result |= {"kind": type_.kind,
                   **given(releases=self.words.releases_of.get(resolve.type_key(type_))),
                   "size": type_.size, "alignment": type_.alignment}
        if type_.element is not None:
            result["element"] = self.id(type_.element)
        if type_.is_record:
            result["fields"] = [
                {"name": f.name, "spelling": f.spelling, "offset": f.offset, "size": f.size} |
                shape(f) | {"type": self.id(f.type)} for f in type_.fields]
        return result

    def text(self, releases, records):
        """One line for each op, type and constant, so that a difference can be read."""
        def lines(values):
            return ",\n    ".join(json.dumps(value, ensure_ascii=False) for value in values)

        def pairs(values):
            return ",\n    ".join(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}"
                                  for key, value in values.items())

        calls = []
        for call in self.facts.table:
            whole = self.hypercall(call)
            ops = whole.pop("ops")
            calls.append(f"{{{lines([whole])[1:-1]}, \"ops\": [\n    {lines(ops)}]}}")
        # Those of the rows that lead there, by the id of their type.
        rows = {self.id(record.type): self.parts(record.parts) for record in records}
        types = dict(zip(self.words.ids, map(self.type, self.facts.type_list)))
        constants = ({"name": name, "value": value, "header": header, **given(scope=scope),
                      "releases": names} for (name, value, header, scope), names
                     in prose.merged_constants(releases).items())
        return ('{"releases": ' + json.dumps([release.name for release in releases]) +
                ',\n"hypercalls": [\n  ' + ",\n  ".join(calls) +
                '],\n"records": {\n    ' + pairs(rows) + '},\n"types": {\n    ' + pairs(types) +
                '},\n"constants": [\n    ' + lines(constants) + "]}\n")
