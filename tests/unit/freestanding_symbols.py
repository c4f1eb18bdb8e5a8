"""What the freestanding libraries ask of their surroundings, beyond one another.

    freestanding_symbols.py SANITIZER ARCHIVE…

A hypervisor or a kernel that links them has memcpy, memmove, memset and memcmp, and nothing else.
"""

import subprocess
import sys

if sys.argv[1] != 'none':
  print('skipped: a sanitized library asks for the sanitizer')
  sys.exit(77)

# The last is the linker's own, of code that can be put anywhere.
ALLOWED = {'memcpy', 'memmove', 'memset', 'memcmp', '_GLOBAL_OFFSET_TABLE_'}

defined, wanted = set(), {}
for archive in sys.argv[2:]:
  member = ''
  for line in subprocess.run(['nm', '--format=posix', archive], check=True, text=True,
                             stdout=subprocess.PIPE).stdout.splitlines():
    name, *rest = line.split()
    if not rest:
      member = line
    elif rest[0] == 'U':
      wanted.setdefault(name, member)
    else:
      defined.add(name)

missing = {name: member for name, member in wanted.items() if name not in defined | ALLOWED}
for name, member in sorted(missing.items()):
  print(f'{member} asks for {name}')
print(f'{len(defined)} symbols, {len(missing)} missing')
sys.exit(bool(missing) or not defined)
