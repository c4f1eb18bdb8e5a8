"""Walks a domain's whole path with libvirt on a machine: Debian's libvirtd with its libxl driver, and
virsh, unmodified.

    libvirt_life.py XENCOMM FOLDER

They, and Xen's own programs, are the packages', unpacked into FOLDER. The daemon finds what its
packages have in /usr/share in a mount namespace of its own.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'xen'))
import guest_kernel
import others
import packages

SKIPPED = 77  # to Meson

# Of this host, where the machine has its own.
KEPT = ['/etc/libvirt', '/run/libvirt', '/var/lib/libvirt', '/var/log/libvirt',
        '/var/cache/libvirt']


def on_host():
  return {path for each in KEPT for path in [pathlib.Path(each), *pathlib.Path(each).rglob('*')]
          if path.exists()}


def main():
  xencomm, folder = map(os.path.abspath, sys.argv[1:])
  # The daemon wants to be root, and does with being so in a namespace of its own.
  own_mounts = ['unshare', '--mount', *([] if os.geteuid() == 0 else ['--map-root-user'])]
  if subprocess.run([*own_mounts, 'true'], stderr=subprocess.DEVNULL).returncode != 0:
    print('skipped: there may be no mount namespace of its own here')
    return SKIPPED
  try:
    root = packages.Archive().unpack(pathlib.Path(folder), packages.UTILITIES + others.LIBVIRT)
  except (OSError, LookupError, subprocess.CalledProcessError) as error:
    print(f'skipped: libvirt cannot be downloaded: {error}')
    return SKIPPED
  programs = packages.utilities_of(root)
  libraries = root / packages.LIBRARIES
  drivers = libraries / 'libvirt/connection-driver'
  path = [programs, root / 'usr/sbin', root / 'usr/bin', os.environ['PATH']]
  environment = {**os.environ, 'PATH': os.pathsep.join(map(str, path)),
                 'LD_LIBRARY_PATH': str(libraries), 'LIBVIRT_DRIVER_DIR': str(drivers), 'LC_ALL': 'C'}
  linked = subprocess.run(['ldd', root / 'usr/sbin/libvirtd', root / 'usr/bin/virsh',
                           *sorted(drivers.glob('*.so'))], env=environment, text=True,
                          stdout=subprocess.PIPE).stdout
  missing = sorted(set(re.findall(r'(\S+) => not found', linked)))
  if missing:
    print(f'skipped: libvirt is linked with what is not installed: {", ".join(missing)}')
    return SKIPPED

  before = on_host()
  with tempfile.TemporaryDirectory() as place:
    place = pathlib.Path(place)
    (place / 'kernel').write_bytes(guest_kernel.kernel())
    for kind in others.GUESTS:
      (place / f'{kind}-guest.xml').write_text(others.guest_xml(kind, place / 'kernel'))
    (place / 'libvirtd.conf').write_text(others.libvirtd_conf(place))
    on_machine = [xencomm, 'run', f'--machine={place}/machine', '--']
    machine = subprocess.Popen([xencomm, 'machine', f'--socket={place}/machine',
                                f'--release={programs.parent.name.removeprefix("xen-")}'],
                               stdout=subprocess.PIPE, text=True)
    machine.stdout.readline()
    console = subprocess.Popen([*on_machine, *own_mounts, 'xenconsoled', '-i'], env=environment,
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    with open(place / 'log', 'w') as log:
      daemon = subprocess.Popen(
          [*on_machine, *own_mounts, 'sh', '-c', 'mount --bind "$0" /usr/share && exec "$@"',
           root / 'usr/share', 'libvirtd', '--config', place / 'libvirtd.conf',
           '--pid-file', place / 'libvirtd.pid'],
          env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def virsh(words):
      done = subprocess.run(['timeout', '60', *on_machine, 'virsh', '--connect',
                             f'xen:///system?socket={place}/libvirt-sock', *words.split()],
                            cwd=place, env=environment, stdin=subprocess.DEVNULL, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
      return others.virsh_lines(done.stdout, done.returncode)

    deadline = time.monotonic() + 60
    while 'exit code' in ' '.join(virsh('uri')) and time.monotonic() < deadline:
      time.sleep(0.1)
    failed = 0
    for kind in others.GUESTS:
      for words, patterns in others.VIRSH:
        words = words.replace('NAME', f'{kind}-guest')
        lines = virsh(words)
        if not others.is_right(lines, patterns, kind):
          print(f'virsh {words}:', *lines, sep='\n  ', flush=True)
          failed += 1
    for process in [daemon, console, machine]:
      process.terminate()
      process.wait(20)
    if failed:
      print((place / 'log').read_text())
    if machine.returncode != 0:
      print(f'the machine ended with {machine.returncode}')
      failed += 1
  # As root, what the front lets through lands there, and nothing fails.
  made = sorted(map(str, on_host() - before))
  if made:
    print(f'made on this host: {made}')
    failed += 1
  print(f'{len(others.GUESTS) * len(others.VIRSH)} commands, {failed} failed')
  return 1 if failed else 0


sys.exit(main())
