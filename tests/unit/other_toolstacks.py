"""Runs what others made on Xen's libraries on a machine: Xen's own module for Python, and collectd's
xencpu, both Debian's and unmodified.

    other_toolstacks.py XENCOMM FOLDER

They are the packages', unpacked into FOLDER.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / 'xen'))
import packages

SKIPPED = 77  # to Meson

PYTHON = r'''Xen 4 domains \[0\]
processors 4 \[\['idletime'\]\]
it has at most 65536 KiB
its vcpu 0 \[0\]
its port 1
refused \(22, 'Invalid argument'\)
domains \[0\]
refused \(3, 'No such process'\)
b'Domain-0' b'here'
'''
COLLECTD = '''
BaseDir "{place}"
PIDFile "{place}/pid"
PluginDir "{root}/usr/lib/collectd"
TypesDB "{root}/usr/share/collectd/types.db"
Interval 1
Hostname "host"
LoadPlugin xencpu
LoadPlugin csv
<Plugin csv>
  DataDir "stdout"
</Plugin>
'''


def main():
  xencomm, folder = map(os.path.abspath, sys.argv[1:])
  try:
    root = packages.Archive().unpack(pathlib.Path(folder),
                                     [*packages.UTILITIES, 'collectd-core'])
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

  def check(what, done, pattern):
    nonlocal failed
    if done.returncode == 0 and re.search(pattern, done.stdout):
      return
    print(f'{what} ended with {done.returncode}\n{done.stdout}')
    failed += 1

  check('Python', run('/usr/bin/python3', HERE / 'python_xc.py',
                      programs.parent / 'lib/python'), f'^{PYTHON}$')
  with tempfile.TemporaryDirectory() as place:
    configuration = pathlib.Path(place, 'collectd.conf')
    configuration.write_text(COLLECTD.format(place=place, root=root))
    # It ends by itself when there is nothing that it could read, and not otherwise.
    done = run('timeout', '--preserve-status', '4', root / 'usr/sbin/collectd', '-f', '-C',
               configuration)
    check('collectd', done, r'Found 4 processors\.(.|\n)*PUTVAL .*/xencpu-3/percent-load ')
  print(f'2 programs, {failed} failed')
  return 1 if failed else 0


sys.exit(main())
