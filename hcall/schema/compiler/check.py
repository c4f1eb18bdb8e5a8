"""Whether the rows say all that there is to say: of every op, every field and every pointer that
the headers of each release declare; and nothing twice."""

import resolve


def check(table, resolvers, errors):
    by_name = {resolver.release.name: resolver for resolver in resolvers}
    for call in table:
        for resolver in resolvers:
            check_ops(call, resolver)
            check_members(call, resolver)
        for op in call.ops:
            op_resolvers = [by_name[name] for name in op.releases]
            check_fields(call, op, op_resolvers)
            check_moves(op, errors)
            check_record(op.name, op.row.place, op.argument, op.parts, op_resolvers, errors)
            check_parts(op.name, op.registers + op.buffers, op_resolvers, errors)
    for resolver in resolvers:
        for record in resolver.records.values():
            row = record.row
            check_type(row.type, row.place, record.type, {part.path for part in record.parts},
                       [resolver])
            check_record(row.type, row.place, record.type, record.parts, [resolver], errors)
        check_reached(table, resolver)


# --- Ops ------------------------------------------------------------------------------------------


def check_ops(call, resolver):
    """Each op number of the headers has a row, and no two rows have one number."""
    ops = {}
    for op in call.ops:
        if resolver.release.name not in op.releases:
            continue
        other = ops.setdefault(op.number, op)
        if other is not op:
            resolver.fail(op.row.place, f"{op.name}: number {op.number} is {other.name}'s: "
                                        "expected one of its own")
    for constant in resolver.op_constants(call.row).values():
        if constant.value not in ops:
            resolver.fail(call.row.place, f"{call.row.name}: the op {constant.name} "
                                          f"({constant.value}, {constant.header}) has no row: "
                                          "expected one, or the constant behind except")


def check_moves(op, errors):
    """What a release has elsewhere is put where the base release has it."""
    if op.moves() and op.argument.size != op.base.argument.size:
        errors.add(op.row.place, f"{op.name}: struct {op.argument.name} has fields elsewhere in "
                                 f"{op.releases[0]} than in {op.base.releases[0]}: expected "
                                 f"{op.base.argument.size} bytes, too, not {op.argument.size}")


def shared_unions(call):
    """The members of the hypercall's structure that belong to single ops: of xen_domctl, u."""
    return {"u"} if any(call.row.type and op.own is not op.argument for op in call.ops) else set()


def check_members(call, resolver):
    """Each member of the shared union belongs to an op."""
    release = resolver.release
    type_ = release.records.get(call.row.type)
    for name in shared_unions(call) if type_ is not None else ():
        found = resolve.locate(type_, name)
        owned = {op.own.name for op in call.ops
                 if op.own is not None and release.name in op.releases}
        for member in found[0].type.fields if found else ():
            if member.type.name not in owned and member.name != "pad":
                resolver.fail(call.row.place, f"{call.row.name}: {type_.name}.{name}."
                                              f"{member.name} belongs to no op: expected one "
                                              "called so, or whose argument it is")


# --- Fields ---------------------------------------------------------------------------------------


def check_fields(call, op, resolvers):
    paths = {part.path for part in op.parts}
    if call.row.type and op.argument is not None:
        check_type(op.name, op.row.place, op.argument, paths, resolvers, shared_unions(call))
    if not call.row.type or op.own is not op.argument:
        check_type(op.name, op.row.place, op.own, paths, resolvers)


def check_type(where, place, root, paths, resolvers, skipped=()):
    """Each field of `root` has a row, itself or as a whole with the structure around it."""
    for path, field, type_ in without_row(root, paths, "", skipped):
        for resolver in resolvers:
            resolver.fail(place, f"{where}: {root.name}.{path} ({field.spelling}, {type_.header}) "
                                 "has no meaning: expected a row")


def without_row(type_, paths, path="", skipped=()):
    for field in type_.fields if type_ is not None else ():
        # In a union it only says how large the others may become.
        if field.name in skipped or (type_.is_union and field.name == "pad"):
            continue
        inner = f"{path}.{field.name}" if path and field.name else path or field.name
        if field.name and inner in paths:
            continue
        if field.type.is_record and not field.is_array:
            yield from without_row(field.type, paths, inner)
        else:
            yield inner, field, type_


# --- Pointers -------------------------------------------------------------------------------------


def has_pointer(type_):
    return type_.kind == "handle" or any(has_pointer(field.type) for field in type_.fields)


def check_reached(table, resolver):
    """Each structure with a pointer in it is some op's."""
    reached = {}  # by the type's id: of a name there is one in each release

    def reach(type_):
        if type_ is not None and id(type_) not in reached:
            reached[id(type_)] = type_.name
            for field in type_.fields:
                reach(field.type)

    release = resolver.release.name
    for call in table:
        for op in call.ops:
            if release in op.releases:
                reach(op.argument)
                for part in op.registers + op.parts:
                    reach(part.element)
    for record in resolver.records.values():
        for part in record.parts:
            reach(part.element)
    for type_ in resolver.release.records.values():
        if type_.is_nested or type_.name in reached.values():
            continue
        for field in type_.fields:
            if has_pointer(field.type):
                resolver.fail("rows", f"{type_.name}.{field.name} ({field.spelling}, "
                                      f"{type_.header}) is a pointer of no op: expected one that "
                                      "leads to it")


# --- Rows against each other ----------------------------------------------------------------------


def check_record(where, place, type_, parts, resolvers, errors):
    if len(parts) > resolve.MAX_PARTS:
        errors.add(place, f"{where}: {len(parts)} rows: expected {resolve.MAX_PARTS} at most")
    if type_ is not None and type_.size > resolve.MAX_RECORD_SIZE and \
            any(part.is_pointer for part in parts):
        errors.add(place, f"{where}: struct {type_.name} has pointers and {type_.size} bytes: "
                          f"expected {resolve.MAX_RECORD_SIZE} at most, to be looked into")
    check_overlaps(where, parts, errors)
    check_parts(where, parts, resolvers, errors)


def check_parts(where, parts, resolvers, errors):
    for part in parts:
        if part.element is not None and part.record is None and has_pointer(part.element):
            errors.add(part.row.place, f"{where}: {part.path} leads to {part.element.name}, which "
                                       "has pointers: expected rows for it in records.yaml")
    check_names(where, parts, resolvers, errors)


def are_disjoint(a, b):
    """Whether two parts are never there together: a discriminator of both, no value in common."""
    if {a.row.phase, b.row.phase} == {"before", "after"}:
        return True
    for x in a.tests:
        for y in b.tests:
            if x.field != y.field or x.is_flags != y.is_flags or (x.is_not and y.is_not):
                continue
            if x.is_flags:
                if x.values == y.values and x.is_not != y.is_not:
                    return True
                continue
            positive, other = (y, x) if x.is_not else (x, y)
            if not any(other.holds(value) for value in positive.values):
                return True
    return False


def check_overlaps(where, parts, errors):
    # Neighbouring bit-fields share their storage.
    own = [part for part in parts if part.row.overlays is None and part.field is not None and
           not part.field.bit_width]
    for i, a in enumerate(own):
        for b in own[i + 1:]:
            if a.offset < b.offset + b.size and b.offset < a.offset + a.size and \
                    not are_disjoint(a, b):
                errors.add(b.row.place, f"{where}: {a.path} and {b.path} have bytes in common: "
                                        "expected cases that say which of them is meant")
    for part in parts:
        if part.row.overlays is not None and part.row.overlays not in {p.row.field for p in own}:
            errors.add(part.row.place, f"{where}: {part.path} is as {part.row.overlays}, which has "
                                       "no row: expected a field that has one")


def check_names(where, parts, resolvers, errors):
    """A prefix names constants, and no two of them that an enumeration could not tell apart."""
    for part in parts:
        naming, found = part.row.naming, set()
        for resolver in resolvers if naming is not None else ():
            values = {}
            for constant in resolver.constants_of(naming):
                found.add(constant.name)
                other = values.setdefault(constant.value, constant)
                if other is not constant and naming.kind == "enum":
                    resolver.fail(part.row.place, f"{where}: {part.path}: {other.name} and "
                                                  f"{constant.name} have the same value: expected "
                                                  "a prefix or except that leaves one")
        for prefix in naming.prefixes if naming is not None else ():
            if not any(name.startswith(prefix) for name in found):
                errors.add(part.row.place, f"{where}: {part.path}: no constant begins with "
                                           f"{prefix}: expected a prefix of some")
