"""What libxenctrl's calls and other domains' memory cost on real Xen, in instructions: QEMU counts
them, and the time stamp counter of its machine shows them to the program. Domain 0 is a PV domain:
a translated one's Linux does not map what it grants itself."""

import pathlib
import sys

import results

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'tests/xen'))
import packages  # noqa: E402, of the tests, as the next one
import run  # noqa: E402

REAL, NULL = 'xenctrl_bench xen', 'xenctrl_bench null'
# As much as that domain 0 has memory for.
SHARING = 'sharing_bench grants frames=1024:1 frames=8192:1'


def figures(build, folder, libraries):
  """Name → what is known, with the libraries of these folders of `build`: None are Debian's. What
  the machine is made of is kept in `folder`."""
  machine = run.Machine(folder, packages.Archive(), packages.UTILITIES, libraries)
  machine.programs = [REAL, NULL, SHARING]
  text = machine.boot(machine.build_image(build), *run.DETERMINISTIC)
  outputs = run.outputs_of(text)
  found = {}
  # The last one's libraries are known by its rows: of those that are put in their place, none.
  for words, read, over in (
      (REAL, results.read_xen, libraries), (NULL, results.read_xen_null, libraries),
      (SHARING, lambda _, output: results.read_sharing_xen(output), ['stock'])):
    for library in over:
      output = outputs.get(f'{library}: {words}', '')
      if 'ended: 0' in output:
        found |= read(library, output)
      else:
        print(f'real Xen: no figures of {words} over {library}: '
              f'{"; ".join((output or text).strip().splitlines()[-5:])}')
  return found
