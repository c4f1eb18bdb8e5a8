"""Whether the rows say all that there is to say: of every op, every field and every pointer that
the headers of each release declare; and nothing twice."""

import itertools

import resolve

# Numbers that no hypercall of this architecture has, or none any more.
NO_HYPERCALLS = ("__HYPERVISOR_arch_", "__HYPERVISOR_tmem_op")


def check(table, resolvers, errors):
    for call in table:
        for resolver in resolvers:
            check_ops(call, resolver)
            check_members(call, resolver)
        for op in call.ops:
            where, place, paths = op.name, op.row.place, {part.path for part in op.parts}
            having = [each for each in resolvers if each.release.name in op.releases]
            check_type(where, place, op.argument, paths | shared_union(call), having)
            if op.own is not op.argument:
                check_type(where, place, op.own, paths, having)
            check_moves(op, errors)
            check_record(where, place, op.argument, op.parts, having, errors)
            check_parts(where, [*op.registers, *op.buffers], having, errors)
    for name, row in resolvers[0].record_rows.items():
        if not any(name in resolver.met for resolver in resolvers):
            errors.add(row.place, f"{name}: expected an op that leads to it")
    for resolver in resolvers:
        check_hypercalls(table, resolver)
        for record in resolver.records.values():
            row, paths = record.row, {part.path for part in record.parts}
            check_type(row.type, row.place, record.type, paths, [resolver])
            check_record(row.type, row.place, record.type, record.parts, [resolver], errors)
        check_reached(table, resolver)


# --- Ops ------------------------------------------------------------------------------------------


def check_hypercalls(table, resolver):
    """Each hypercall of the headers has a row."""
    known = {call.number for call in table}
    for name, constant in resolver.release.constants.items():
        if name.startswith("__HYPERVISOR_") and not name.startswith(NO_HYPERCALLS) and \
                0 <= constant.value < resolve.HYPERCALLS and constant.value not in known:
            resolver.fail("rows:1", f"{name} ({constant.value}): expected a file for it")


def check_ops(call, resolver):
    """Each op number of the headers has a row, and no two rows have one number."""
    ops = {}
    for op in [op for op in call.ops if resolver.release.name in op.releases]:
        other = ops.setdefault(op.number, op)
        if other is not op:
            resolver.fail(op.row.place, f"{op.name}: number {op.number} is {other.name}'s: "
                                        "expected one of its own")
    for name, constant in resolver.constants_of(call.row.constants).items():
        if constant.value not in ops:
            resolver.fail(call.row.place, f"{call.row.name}: the op {name} ({constant.value}, "
                                          f"{constant.header}) has no row: expected one, or the "
                                          "constant behind except")


def check_moves(op, errors):
    """What a release has elsewhere is put where the base release has it."""
    if op.moves() and op.argument.size != op.base.argument.size:
        errors.add(op.row.place, f"{op.name}: struct {op.argument.name} has fields elsewhere in "
                                 f"{op.releases[0]} than in {op.base.releases[0]}: expected "
                                 f"{op.base.argument.size} bytes, too, not {op.argument.size}")


def shared_union(call):
    """The member of the hypercall's structure that belongs to single ops: of xen_domctl, u."""
    return {"u"} if any(op.own is not op.argument for op in call.ops) else set()


def check_members(call, resolver):
    """Each member of the shared union belongs to an op."""
    type_ = resolver.release.records.get(call.row.type)
    owned = {op.own.name for op in call.ops if op.own and resolver.release.name in op.releases}
    for name in shared_union(call) if type_ is not None else ():
        for member in resolve.locate(type_, name)[0].type.fields:
            if member.type.name not in owned and member.name != "pad":
                resolver.fail(call.row.place, f"{call.row.name}: {type_.name}.{name}."
                                              f"{member.name} belongs to no op: expected one "
                                              "called so, or whose argument it is")


# --- Fields ---------------------------------------------------------------------------------------


def check_type(where, place, root, paths, resolvers):
    """Each field of `root` has a row, itself or as a whole with the structure around it."""
    for path, field, type_ in without_row(root, paths):
        for resolver in resolvers:
            resolver.fail(place, f"{where}: {root.name}.{path} ({field.spelling}, {type_.header}) "
                                 "has no meaning: expected a row")


def without_row(type_, paths, around=""):
    for field in type_.fields if type_ is not None else ():
        path = ".".join(filter(None, [around, field.name]))
        if field.name and path in paths or field.name == "pad" and type_.is_union:
            continue  # a union's pad only says how large the others may become
        if field.type.is_record and not field.is_array:
            yield from without_row(field.type, paths, path)
        else:
            yield path, field, type_


# --- Pointers -------------------------------------------------------------------------------------


def has_pointer(type_):
    return type_.kind == "handle" or any(has_pointer(field.type) for field in type_.fields)


def check_reached(table, resolver):
    """Each structure with a pointer in it is some op's."""
    release = resolver.release
    reached = {}  # by the type's id: of a name there is one in each release

    def reach(type_):
        if type_ is not None and id(type_) not in reached:
            reached[id(type_)] = type_.name
            for field in type_.fields:
                reach(field.type)

    for op in [op for call in table for op in call.ops if release.name in op.releases]:
        reach(op.argument)
        for part in [*op.registers, *op.parts]:
            reach(part.element)
    for part in [part for record in resolver.records.values() for part in record.parts]:
        reach(part.element)
    for type_ in release.records.values():
        for field in () if type_.is_nested or type_.name in reached.values() else type_.fields:
            if has_pointer(field.type):
                resolver.fail("rows:1", f"{type_.name}.{field.name} ({field.spelling}, "
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
        if (part.local.what == "machine" or part.local.is_made) and "out" not in \
                part.direction:
            errors.add(part.row.place, f"{where}: {part.path} is not written: expected the "
                                       "machine's and makes of what the call answers alone")
    check_names(where, parts, resolvers, errors)


def exclude(a, b):
    """Whether no value of a field passes both tests."""
    if a.field != b.field or a.is_flags != b.is_flags:
        return False
    if a.is_not == b.is_not:
        return not a.is_not and not a.is_flags and set(a.values).isdisjoint(b.values)
    inside, outside = (b, a) if a.is_not else (a, b)
    return set(inside.values) <= set(outside.values)


def are_disjoint(a, b):
    """Whether two parts are never there together."""
    return {a.row.phase, b.row.phase} == {"before", "after"} or any(
        exclude(x, y) for x in a.tests for y in b.tests)


def share(a, b):
    """Whether two parts have bytes in common."""
    return a.offset < b.offset + b.size and b.offset < a.offset + a.size


def check_overlaps(where, parts, errors):
    # Neighbouring bit-fields share their storage.
    own = [part for part in parts if part.row.overlays is None and not part.field.bit_width]
    for a, b in itertools.combinations(own, 2):
        if share(a, b) and not are_disjoint(a, b):
            errors.add(b.row.place, f"{where}: {a.path} and {b.path} have bytes in common: "
                                    "expected cases that say which of them is meant")
    for part in parts:
        if part.row.overlays and not any(share(part, each) for each in own
                                         if each.row.field == part.row.overlays):
            errors.add(part.row.place, f"{where}: {part.path} is as {part.row.overlays}, which has "
                                       "no row, or other bytes: expected a field of its bytes")
        for test in part.tests:
            if test.field not in [resolve.Ref(each.offset, each.size) for each in parts
                                  if each.row.overlays is None]:
                errors.add(part.row.place, f"{where}: the case of {part.path} is about a field "
                                           "without a row: expected one that has a row of its own")


def check_names(where, parts, resolvers, errors):
    """A prefix names constants, and no two of them that an enumeration could not tell apart."""
    for part in parts:
        place, naming = part.row.place, part.row.naming
        if naming is None:
            continue
        found = set()
        for resolver in resolvers:
            names = {}  # by value
            for name, constant in resolver.constants_of(naming).items():
                found.add(name)
                other = names.setdefault(constant.value, name)
                if other != name and naming.kind == "enum":
                    resolver.fail(place, f"{where}: {part.path}: {other} and {name} have the same "
                                         "value: expected a prefix or except that leaves one")
        for prefix in naming.prefixes:
            if not any(name.startswith(prefix) for name in found):
                errors.add(place, f"{where}: {part.path}: no constant begins with {prefix}: "
                                  "expected a prefix of some")
