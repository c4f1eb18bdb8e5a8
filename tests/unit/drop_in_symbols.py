"""Compares the symbols of a drop-in library with those of the library that it stands in for.

    drop_in_symbols.py OURS THEIRS

Every name, at its version node, and the soname: nothing may be missing, and nothing else shown.
"""

import re
import subprocess
import sys


def exports(library):
  """The (name, version, kind) of all that the dynamic linker finds in a library."""
  text = subprocess.run(['objdump', '-T', library], check=True, text=True,
                        stdout=subprocess.PIPE).stdout
  found = set()
  for line in text.splitlines():
    match = re.match(r'[0-9a-f]+ g +(\S+) +(\S+)\t[0-9a-f]+ +\(?(\S+?)\)? +(\S+)$', line)
    if match and match.group(2) != '*UND*':
      kind, _, version, name = match.groups()
      found.add((name, version, kind))
  return found


def soname(library):
  text = subprocess.run(['objdump', '-p', library], check=True, text=True,
                        stdout=subprocess.PIPE).stdout
  return re.search(r'SONAME +(\S+)', text).group(1)


def main():
  ours, theirs = sys.argv[1:]
  failed = False
  for sign, difference in (('missing', exports(theirs) - exports(ours)),
                           ('too many', exports(ours) - exports(theirs))):
    for name, version, kind in sorted(difference):
      print(f'{sign}: {name}@{version} ({kind})')
      failed = True
  if soname(ours) != soname(theirs):
    print(f'the soname is {soname(ours)}, expected {soname(theirs)}')
    failed = True
  if not exports(theirs):
    print(f'{theirs} exports nothing: not the library')
    failed = True
  sys.exit(failed)


main()
