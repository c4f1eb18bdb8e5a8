"""What libxenctrl's calls cost on real Xen, in instructions: QEMU counts them, and the time stamp
counter of its machine shows them to the program."""

import pathlib
import sys

import results

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'tests/xen'))
import packages  # noqa: E402, of the tests, as the next one
import run  # noqa: E402

REAL, NULL = 'xenctrl_bench xen', 'xenctrl_bench null'


def figures(build, folder, libraries):
  """Name → what is known, with the libraries of these folders of `build`: None are Debian's. What
  the machine is made of is kept in `folder`."""
  machine = run.Machine(folder, packages.Archive(), packages.UTILITIES, libraries)
  machine.programs = [REAL, NULL]
  text = machine.boot(machine.build_image(build), *run.DETERMINISTIC)
  outputs = run.outputs_of(text)
  found = {}
  for words, read in ((REAL, results.read_xen), (NULL, results.read_xen_null)):
    for library in libraries:
      output = outputs.get(f'{library}: {words}', '')
      if 'ended: 0' in output:
        found |= read(library, output)
      else:
        print(f'real Xen: no figures of {words} over {library}: '
              f'{"; ".join((output or text).strip().splitlines()[-5:])}')
  return found
