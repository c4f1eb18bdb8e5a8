"""Checks that the hot paths are as short as they were.

  hot_paths.py PROGRAM COMPILER VERSION

hot_paths.json says how many instructions one structure of 64 bytes through a typed handle may take
in each space, above those of a direct pointer in the same loop. They are counted, not timed:
callgrind gives the same number in every run of one binary. Another compiler makes another binary,
so the bounds are those of g++ 12.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import results

SKIPPED = 77
GROUP = 'element/'


def main():
  program, compiler, version = sys.argv[1:]
  if compiler != 'gcc' or version.split('.')[0] != '12':
    print(f'skipped: the bounds are of g++ 12, and this is {compiler} {version}')
    sys.exit(SKIPPED)
  bounds = json.loads(pathlib.Path(__file__).with_name('hot_paths.json').read_text())
  with tempfile.TemporaryDirectory() as folder:
    profile = pathlib.Path(folder) / 'profile'
    try:
      subprocess.run(['valgrind', '--tool=callgrind', '--collect-atstart=no', '--combine-dumps=yes',
                      f'--callgrind-out-file={profile}', program, f'--instructions={GROUP}'],
                     check=True, stderr=subprocess.DEVNULL)
    except FileNotFoundError:
      print('skipped: valgrind is not installed')
      sys.exit(SKIPPED)
    counts = results.read_counts(profile.read_text())
  failed = False
  for name, bound in bounds.items():
    direct = name.replace(name.split('/')[2], 'direct')
    above = counts[name]['instructions'] - counts[direct]['instructions']
    verdict = 'ok' if above <= bound else 'TOO MANY'
    failed |= above > bound
    print(f'{name}: {above:.1f} instructions above a direct pointer, bound {bound}: {verdict}')
  sys.exit(1 if failed else 0)


if __name__ == '__main__':
  main()
