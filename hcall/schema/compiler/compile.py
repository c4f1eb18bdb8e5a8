#!/usr/bin/python3
"""The compiler of the op table: joins the rows with the layout of each release, checks that they
say all and nothing twice, and writes what is built.

    compile.py --rows rows --releases releases --output FOLDER

  op_table_facts.cc   what a kernel or a hypervisor needs (op.h)
  op_table_words.cc   names and prose (words.h)
  op_table.json       both, for programs in other languages
  rows.h, types.h     typed rows, and the table's type of a C++ structure (bind.h, cpp_type.h)
  xen.h               the structures and constants of C++ (structures.py)

What is wrong is told with file and line, and nothing is written: first all that cannot be read,
then all that fits no release, then all that is missing or said twice.
"""

import argparse
import pathlib
import sys

import check
import export
import facts
import layout
import resolve
import rows
import structures
import typed_rows
import words

SCHEMA = pathlib.Path(__file__).resolve().parent.parent
MAX_RELEASES = 8  # bits of a set of them (op.h)


def load(row_folder, release_folder, errors):
    """The table, and for each release, ascending, its Resolver; of no use when there are errors."""
    releases = []
    for folder, suffix in (row_folder, ".yaml"), (release_folder, ".layout"):
        for path in folder.glob("[!.]*[!~]"):  # an editor's own aside
            if path.suffix != suffix or not path.is_file():
                errors.add(f"{path.name}:1", f"expected files NAME{suffix} alone in {folder}")
    for path in release_folder.glob("[!.]*.layout"):
        try:
            releases.append(layout.Release(path))
        except layout.LayoutError as error:
            errors.add(*str(error).removeprefix(f"{release_folder}/").split(": ", 1))
        except (OSError, UnicodeError) as error:
            errors.add(f"{path.name}:1", f"{error}: expected a text")
    if not 0 < len(releases) <= MAX_RELEASES:
        errors.add(release_folder, f"{len(releases)} releases: expected 1 to {MAX_RELEASES}, in "
                                   "files as 4.17.layout")
    releases.sort(key=lambda release: rows.version_key(release.name))
    calls, records = rows.load(row_folder, errors)
    return resolve.resolve(calls, records, releases, errors) if not errors.messages else ([], [])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", type=pathlib.Path, default=SCHEMA / "rows")
    parser.add_argument("--releases", type=pathlib.Path, default=SCHEMA / "releases")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="folder to write to")
    parser.add_argument("--depfile", type=pathlib.Path, help="for the build: what was read")
    options = parser.parse_args()
    for folder in options.rows, options.releases, options.output:
        if not folder.is_dir():
            parser.error(f"{folder}: expected a folder")

    errors = rows.Errors()
    table, resolvers = load(options.rows, options.releases, errors)
    if not errors.messages:
        check.check(table, resolvers, errors)
    if errors.messages:
        return "\n".join(errors.messages)

    releases = [resolver.release for resolver in resolvers]
    all_facts = facts.Facts(table, releases)
    all_words = words.Words(all_facts, releases)
    as_json = export.Export(all_facts, all_words).text(
        [record for resolver in resolvers for record in resolver.records.values()])
    for name, text in {
            "op_table_facts.cc": all_facts.text(), "op_table_words.cc": all_words.text(as_json),
            "op_table.json": as_json, "rows.h": typed_rows.text(table, all_facts, releases[0]),
            "types.h": typed_rows.types(all_facts, releases),
            "xen.h": structures.structures(releases)}.items():
        # What is as it was keeps its time, and what is made of it is not made again.
        path = options.output / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
    if options.depfile:
        # Folders too: a file that is new makes one newer.
        read = [options.rows, *options.rows.glob("[!.]*.yaml"), options.releases,
                *options.releases.glob("[!.]*.layout"), *SCHEMA.glob("compiler/*.py")]
        options.depfile.write_text(f"{options.output / 'op_table_facts.cc'}: "
                                   f"{' '.join(map(str, read))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
