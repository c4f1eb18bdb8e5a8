"""The freestanding table in its object: small, and without an address to relocate.

    facts_object.py SANITIZER ARCHIVE

It goes into ring 0 and real mode, wherever these are loaded, and is never written.
"""

import re
import subprocess
import sys

MOST = 64 << 10  # bytes

if sys.argv[1] != 'none':
  print('skipped: a sanitizer puts room between the arrays')
  sys.exit(77)


def of_facts(command, pattern):
  """What a program says of the archive's member."""
  text = subprocess.run([*command, sys.argv[2]], check=True, text=True, stdout=subprocess.PIPE).stdout
  found = re.findall(pattern, text, re.MULTILINE)
  if len(found) != 1:
    sys.exit(f'{" ".join(command)}: op_table_facts is there {len(found)} times')
  return found[0]


text, data, bss = map(int, of_facts(['size'], r'^ +(\d+)\t +(\d+)\t +(\d+)\t.*op_table_facts'))
print(f'{text + data + bss} bytes, of {MOST}; {data + bss} of them can be written')
sections = of_facts(['readelf', '--relocs', '--wide'],
                    r'^File: .*op_table_facts.*\n((?:(?!File: ).*\n?)*)')
# What a debugger reads is not loaded.
relocated = [name for name in re.findall(r"^Relocation section '(\S+)'", sections, re.MULTILINE)
             if not name.startswith('.rela.debug')]
print(f'relocated: {", ".join(relocated) or "nothing"}')
sys.exit(text + data + bss > MOST or data + bss > 0 or bool(relocated))
