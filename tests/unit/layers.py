"""Whether the house stands: nothing calls up.

    layers.py SOURCES ARCHIVE...

A file includes what lies on its own layer or below, and the headers of a layer have an order, too.
Objects of the archives want no symbol that a higher layer defines, as a function would be that is
declared below and defined above. Runs in the build folder, where an archive lies as its sources do.
"""

import graphlib
import os
import pathlib
import re
import subprocess
import sys

# The lowest first. Of two that fit, the longer one is a file's: the hypervisor's own folder is what
# lies on top of its rooms.
LAYERS = [
  'xencomm',
  'arch',
  'hcall/schema',
  'hcall/linux',
  'hcall/hypervisor/base',
  'hcall/hypervisor/memory',
  'hcall/hypervisor/domain',
  'hcall/hypervisor/calls',
  'hcall/hypervisor',
  'hcall/transport',
  'hcall/sharing',
  'hcall/machine',
  'hcall/devices',
  'hcall/xencall',
  'hcall/trace',
  'hcall/tools',
]
INCLUDE = re.compile(r'\s*#\s*include\s*"([^"]+)"')

top = pathlib.Path(sys.argv[1])
faults = []


def layer_of(name):
  """Its number, or None: no layer of the house, as of a library's header."""
  fitting = [layer for layer in LAYERS if name.startswith(layer + '/')]
  return LAYERS.index(max(fitting, key=len)) if fitting else None


def check_includes():
  """Answers how many there are."""
  count = 0
  headers = {}
  for folder in ('xencomm', 'arch', 'hcall'):
    for path in sorted(top.glob(folder + '/**/*.*')):
      if path.suffix not in ('.h', '.c', '.cc'):
        continue
      name = path.relative_to(top).as_posix()
      for number, line in enumerate(path.read_text().splitlines(), 1):
        include = INCLUDE.match(line)
        if not include:
          continue
        count += 1
        included = include[1]
        layer = layer_of(included)
        if layer is None and (top / included).exists():
          faults.append(f'{name}:{number} includes {included}, which is outside')
        elif layer is not None and layer > layer_of(name):
          faults.append(f'{name}:{number} includes {included}, which runs up from '
                        f'{LAYERS[layer_of(name)]} to {LAYERS[layer]}')
        elif path.suffix == '.h':
          headers.setdefault(name, set()).add(included)
  try:
    graphlib.TopologicalSorter(headers).prepare()
  except graphlib.CycleError as error:
    faults.append('a circle: ' + ' is included by '.join(error.args[1]))
  return count


def check_symbols(archives):
  """Answers how many symbols are wanted and found."""
  defined, wanted = {}, []
  for archive in archives:
    folder = os.path.relpath(archive.parent)
    # As Meson names objects. One of a generated source is on the folder's own layer.
    names = {path.relative_to(top / folder).as_posix().replace('/', '_') + '.o':
             path.relative_to(top).as_posix() for path in (top / folder).glob('**/*.cc')}
    source = None
    for line in subprocess.run(['nm', '--format=posix', archive], check=True, text=True,
                               stdout=subprocess.PIPE).stdout.splitlines():
      symbol, *rest = line.split()
      if not rest:
        name = re.search(r'([^/[]+\.o)\]?:$', symbol)[1]
        source = names.get(name, f'{folder}/{name}')
      elif rest[0] == 'U':
        wanted.append((source, symbol))
      elif rest[0] in 'TDRB':  # but not what each object has of an inline function
        defined[symbol] = source
  found = [(source, symbol) for source, symbol in wanted if symbol in defined]
  for source, symbol in found:
    if layer_of(source) < layer_of(defined[symbol]):
      faults.append(f'{source} wants {symbol} of {defined[symbol]}')
  return len(found)


includes = check_includes()
symbols = check_symbols([pathlib.Path(archive) for archive in sys.argv[2:]])
for fault in faults:
  print(fault)
print(f'{includes} includes, {symbols} symbols, {len(faults)} faults')
sys.exit(bool(faults) or not includes or not symbols)
