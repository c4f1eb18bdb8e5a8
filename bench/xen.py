"""What libxenctrl's calls and other domains' memory cost on real Xen, in instructions: QEMU counts
them, and the time stamp counter of its machine shows them to the program. Domain 0 is a PV domain:
a translated one's Linux does not map what it grants itself."""

import copy
import pathlib
import sys

import results

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'tests/xen'))
import packages  # noqa: E402, of the tests, as the next one
import run  # noqa: E402

REAL, NULL = 'xenctrl_bench xen', 'xenctrl_bench null'
# The disk first: it wants grants whose references follow one another, as those of a fresh table do.
SHARING = 'sharing_bench disk grants frames=1024:1 frames=262144:16'
VCHAN = 'sharing_bench vchan'


def figures(build, folder, libraries):
  """Name → what is known, with the libraries of these folders of `build`: None are Debian's. What
  the machines are made of is kept in `folder`."""
  calls = run.Machine(folder, packages.Archive(), packages.UTILITIES, libraries)
  calls.programs = [REAL, NULL]
  # Debian's libraries and ours are rows of one program. It maps 1 GiB of plain memory, and then as
  # much of a domain's.
  sharing = copy.copy(calls)
  sharing.library_sets = {'stock': None}
  sharing.programs, sharing.programs_with_store = [SHARING], [VCHAN]
  sharing.memory = 3072, 1500

  def read_sharing(_, output):
    return results.read_sharing_xen(output)

  found = {}
  for machine, readers in ((calls, {REAL: results.read_xen, NULL: results.read_xen_null}),
                           (sharing, {SHARING: read_sharing, VCHAN: read_sharing})):
    text = machine.boot(machine.build_image(build), *run.DETERMINISTIC)
    outputs = run.outputs_of(text)
    for words, read in readers.items():
      for library in machine.library_sets:
        output = outputs.get(f'{library}: {words}', '')
        if 'ended: 0' in output:
          found |= read(library, output)
        else:
          print(f'real Xen: no figures of {words} over {library}: '
                f'{"; ".join((output or text).strip().splitlines()[-5:])}')
  return found
