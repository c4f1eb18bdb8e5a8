"""The whole table as JSON, for programs in other languages. op_table.schema.json describes it."""

import json
import re

import resolve
import rows


def given(**values):
    """Those of some members that say something."""
    return {key: value for key, value in values.items() if value not in (None, False, 0, "", [])}


def shape(field):
    result = {"count": field.count} if field.is_array else {}
    if field.bit_width:
        result |= {"bit_offset": field.bit_offset, "bit_width": field.bit_width}
    return result


def local(of):
    if of.what == "no":
        return {}
    return {"local": {"what": of.what, **given(is_made=of.is_made, is_or_next=of.is_or_next,
                                              bits=of.bits or None)}}


def count(part, name):
    """`name`: room or filled. Fields are called as in the row, with what the part's row is in."""
    amount, written = getattr(part, name), getattr(part.row, name)
    around = part.path.removesuffix(part.row.field) if amount.kind != "until_zero" else ""
    result = {"kind": amount.kind}
    result |= {key: around + field for key, field in (("a", written.a), ("b", written.b))
               if isinstance(field, str)}
    if amount.kind in ("number", "inside"):
        result |= {"scale": amount.scale, "per": amount.per}
    if amount.kind == "inside":
        result["at"] = amount.at
    return result | given(most=amount.most, least=amount.least, more=amount.more)


class Export:
    def __init__(self, facts, words):
        self.facts, self.words = facts, words

    def id(self, type_):
        return self.words.ids[self.facts.type(type_)]

    def parts(self, parts):
        return [self.part(part, parts) for part in parts if part.row.overlays is None]

    def part(self, part, parts):
        row, naming = part.row, part.row.naming
        result = {"path": part.path, "offset": part.offset, "size": part.size}
        if part.field is not None:
            result |= {"spelling": part.field.spelling} | shape(part.field)
        result |= {"type": self.id(part.type), "direction": part.direction.replace(" ", "_")}
        if row.phase != "both":
            result["phase"] = row.phase
        result |= given(when=[
            {"field": next(other.path for other in parts if not other.row.overlays and
                           (other.offset, other.size) == (test.field.offset, test.field.size)),
             "values": test.values, **given(**{"flags": test.is_flags, "not": test.is_not})}
            for test in part.tests])
        if part.element is not None:
            buffer = result["buffer"] = {"element": self.id(part.element),
                                         "room": count(part, "room")}
            if part.filled.kind != "none":
                buffer["filled"] = count(part, "filled")
            if part.null is not None:
                buffer["null"] = part.null
            buffer["lifetime"] = "until_replaced" if row.until_replaced else "call"
            buffer |= given(trailing=row.trailing, address_bits=row.address_bits,
                            second_null=part.second_null)
        result |= given(number_bits=row.low_bits and (1 << row.low_bits) - 1, note=row.note)
        result |= local(part.local)
        if naming is not None:
            result["constants"] = {"prefix": " ".join(naming.prefixes), "kind": naming.kind,
                                   **given(scope=naming.scope, **{"except": naming.excepted})}
        return result

    def op(self, op):
        returns, its_local = op.row.returns or (None, rows.Local())
        result = {"name": op.row.name, "number": op.number, **given(constant=op.constant),
                  "releases": op.releases, **given(stable=op.is_stable), "about": op.row.about,
                  **given(returns=returns), **local(its_local),
                  "registers": self.parts(op.registers)}
        if op.argument is not None:
            result["argument"] = {
                "type": self.id(op.argument), "own_type": self.id(op.own),
                "own_offset": op.own_offset,
                "direction": op.direction.replace(" ", "_"), "fields": self.parts(op.parts)}
        return result | given(buffers=self.parts(op.buffers))

    def hypercall(self, call):
        row = call.row
        result = {"name": row.name, "number": call.number, "about": row.about,
                  "registers": row.registers, "op_place": row.op_place.replace(" ", "_")}
        if call.op_mask != 2**64 - 1:
            result["op_mask"] = call.op_mask
        return result | given(
            versions=[{"version": version, "releases": names}
                      for version, names in sorted(call.versions.items())],
            holds_calls=row.holds_calls,
            removed=[{"name": name, "number": number, "words": words}
                     for number, name, _, words in call.removed],
            ops=[self.op(op) for op in call.ops])

    def type(self, type_):
        result = {"name": type_.name, **given(header=type_.header), "kind": type_.kind,
                  **given(releases=self.words.releases_of.get(resolve.type_key(type_))),
                  "size": type_.size, "alignment": type_.alignment,
                  **given(element=type_.element and self.id(type_.element))}
        if type_.is_record:
            result["fields"] = [
                {"name": each.name, "spelling": each.spelling, "offset": each.offset,
                 "size": each.size, **shape(each), "type": self.id(each.type)}
                for each in type_.fields]
        return result

    def text(self, records):
        """One line for each op, field, type and constant, so that a difference can be read.
        `records`: those of the rows."""
        whole = {
            "releases": self.facts.names,
            "hypercalls": [self.hypercall(call) for call in self.facts.table],
            "records": {self.id(record.type): self.parts(record.parts) for record in records},
            "types": dict(zip(self.words.ids, map(self.type, self.facts.types.of))),
            "constants": [{"name": each.name, "value": each.value, "header": each.header,
                           **given(scope=each.scope), "releases": names}
                          for each, names in self.words.constants.items()]}
        text = json.dumps(whole, ensure_ascii=False)
        return re.sub(r' ?(?=\{"(?:name|path)": )', "\n", text) + "\n"
