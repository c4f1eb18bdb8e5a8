"""Runs Xen's own programs on the embedded hypervisor in every space.

    stock_programs.py XENCOMM FOLDER

Those of xen-utils where it is installed, or else the package's, unpacked into FOLDER. Each must
succeed and print what it prints on real Xen, but for the numbers (tests/xen/stock.py).
"""

import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'xen'))
import packages
import stock

SPACES = ['direct', 'walk4', 'walk5', 'region', 'stateless', 'xcom', 'inline']
SKIPPED = 77  # to Meson


def main():
  xencomm, folder = sys.argv[1:]
  programs = packages.utilities_of(pathlib.Path('/'))
  environment = dict(os.environ)
  if programs is None:
    try:
      root = packages.Archive().unpack(pathlib.Path(folder), packages.UTILITIES)
    except (OSError, LookupError, subprocess.CalledProcessError) as error:
      print(f'skipped: xen-utils is not installed, and cannot be downloaded: {error}')
      return SKIPPED
    programs = packages.utilities_of(root)
    environment['LD_LIBRARY_PATH'] = str(root / packages.LIBRARIES)

  xen = programs.parent.name.removeprefix('xen-')
  failed = 0
  for space in SPACES:
    for words in stock.PROGRAMS:
      name, *arguments = words.split()
      run = subprocess.run([xencomm, 'run', f'--space={space}', f'--release={xen}', '--',
                            programs / name, *arguments],
                           env=environment, text=True, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, timeout=120)
      problem = stock.difference(words, run.stdout, xen)
      if run.returncode != 0:
        problem = f'{words}: ended with {run.returncode}\n{run.stdout}{run.stderr}'
      if problem is not None:
        print(f'{space}: {problem}')
        failed += 1
  print(f'{len(SPACES)} spaces, {len(stock.PROGRAMS)} programs, {failed} failed')
  return 1 if failed else 0


sys.exit(main())
