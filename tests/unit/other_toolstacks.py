"""Runs what others made on Xen's libraries on a machine: Xen's own module for Python, and collectd's
xencpu, both Debian's and unmodified.

    other_toolstacks.py XENCOMM FOLDER

They are the packages', unpacked into FOLDER.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'xen'))
import others
import packages

SKIPPED = 77  # to Meson


def main():
  xencomm, folder = map(os.path.abspath, sys.argv[1:])
  try:
    root = packages.Archive().unpack(pathlib.Path(folder),
                                     packages.UTILITIES + others.COLLECTD)
  except (OSError, LookupError, subprocess.CalledProcessError) as error:
    print(f'skipped: the packages cannot be downloaded: {error}')
    return SKIPPED
  programs = packages.utilities_of(root)
  on_machine = [xencomm, 'run', f'--release={programs.parent.name.removeprefix("xen-")}', '--']

  def run(*words):
    return subprocess.run(['timeout', '60', *on_machine, *words], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env={**os.environ, 'LD_LIBRARY_PATH': str(root / packages.LIBRARIES)})

  failed = 0
  done = run('/usr/bin/python3', others.PYTHON_XC, programs.parent / 'lib/python')
  if not others.is_right(others.virsh_lines(done.stdout, done.returncode), others.PYTHON):
    print(f'Python ended with {done.returncode}\n{done.stdout}')
    failed += 1
  with tempfile.TemporaryDirectory() as place:
    configuration = pathlib.Path(place, 'collectd.conf')
    configuration.write_text(others.collectd_conf(place, root / 'usr/lib/collectd',
                                                  root / 'usr/share/collectd/types.db'))
    words = {'collectd': root / 'usr/sbin/collectd', 'collectd.conf': configuration}
    done = run(*(words.get(word, word) for word in others.XENCPU.split()))
    if done.returncode != 0 or not others.has_found(done.stdout.splitlines()):
      print(f'collectd ended with {done.returncode}\n{done.stdout}')
      failed += 1
  print(f'2 programs, {failed} failed')
  return 1 if failed else 0


sys.exit(main())
