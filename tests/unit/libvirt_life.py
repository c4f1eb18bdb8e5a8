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
import packages

SKIPPED = 77  # to Meson

# With the libraries that nothing else here needs.
LIBVIRT = ['libvirt-daemon', 'libvirt-daemon-driver-xen', 'libvirt0', 'libvirt-clients',
           'libapparmor1', 'libcap-ng0', 'libpcap0.8', 'libpciaccess0', 'libssh-4', 'libtirpc3']

GUESTS = {'pv': '<type machine="xenpv">xen</type>', 'pvh': '<type machine="xenpvh">xenpvh</type>'}
ONLY_DOMAIN0 = [r'Id +Name +State', '-+', '0 +Domain-0 +running']
VCPUS = [r'VCPU: +0', r'CPU: +PLACE', 'State: +offline', 'CPU Affinity: +MASK',
         r'VCPU: +1', r'CPU: +[0-3]', 'State: +offline', 'CPU Affinity: +yyyy']
# Of this host, where the machine has its own.
KEPT = ['/etc/libvirt', '/run/libvirt', '/var/lib/libvirt', '/var/log/libvirt',
        '/var/cache/libvirt']
WEIGHT = ['Scheduler +: credit2', r'weight +: WEIGHT', r'cap +: 0']

# A command of virsh's and the lines that it prints, as regular expressions; NAME is the domain's.
LIFE = [
    ('list --all', ONLY_DOMAIN0),
    ('create --paused NAME.xml', ["Domain 'NAME' created from NAME.xml"]),
    ('list', [*ONLY_DOMAIN0, r'\d+ +NAME +paused']),
    ('dominfo NAME', [r'Id: +\d+', 'Name: +NAME', 'UUID: .*', 'OS Type: +(xen|xenpvh)',
                      'State: +paused', r'CPU\(s\): +2', 'Max memory: +65536 KiB',
                      r'Used memory: +65\d\d\d KiB', 'Persistent: +no', 'Autostart: +disable',
                      'Managed save: +no']),
    ('vcpuinfo NAME', [line.replace('PLACE', '[0-3]').replace('MASK', 'yyyy') for line in VCPUS]),
    ('vcpupin NAME 0 1', []),
    ('vcpuinfo NAME', [line.replace('PLACE', '1').replace('MASK', '-y--') for line in VCPUS]),
    ('schedinfo NAME', [line.replace('WEIGHT', '256') for line in WEIGHT]),
    ('schedinfo NAME --weight 512', [line.replace('WEIGHT', '512') for line in WEIGHT]),
    ('setmem NAME 60M', []),
    # What the guest is to give back; it does not run.
    ('dumpxml NAME --xpath //currentMemory', ['<currentMemory unit="KiB">61440</currentMemory>']),
    ('resume NAME', ["Domain 'NAME' resumed"]),
    ('domstate NAME', ['running']),
    ('suspend NAME', ["Domain 'NAME' suspended"]),
    ('domstate NAME', ['paused']),
    ('destroy NAME', ["Domain 'NAME' destroyed"]),
    ('list --all', ONLY_DOMAIN0),
]


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
    root = packages.Archive().unpack(pathlib.Path(folder), packages.UTILITIES + LIBVIRT)
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
    for kind, machine_type in GUESTS.items():
      (place / f'{kind}-guest.xml').write_text(
          f'<domain type="xen"><name>{kind}-guest</name><memory>65536</memory><vcpu>2</vcpu>'
          f'<os>{machine_type}<kernel>{place}/kernel</kernel></os></domain>')
    (place / 'libvirtd.conf').write_text(
        f'unix_sock_dir = "{place}"\nauth_unix_rw = "none"\nauth_unix_ro = "none"\n')
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
      lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
      return lines + ([f'exit code {done.returncode}'] if done.returncode != 0 else [])

    deadline = time.monotonic() + 60
    while 'exit code' in ' '.join(virsh('uri')) and time.monotonic() < deadline:
      time.sleep(0.1)
    failed = 0
    for kind in GUESTS:
      for words, patterns in LIFE:
        words = words.replace('NAME', f'{kind}-guest')
        patterns = [pattern.replace('NAME', f'{kind}-guest') for pattern in patterns]
        lines = virsh(words)
        if len(lines) != len(patterns) or not all(map(re.fullmatch, patterns, lines)):
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
  print(f'{len(GUESTS) * len(LIFE)} commands, {failed} failed')
  return 1 if failed else 0


sys.exit(main())
