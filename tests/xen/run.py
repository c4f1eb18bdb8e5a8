"""Runs programs on real Xen 4.17: QEMU boots it with a Linux dom0 made of Debian's packages.

    /usr/bin/python3 tests/xen/run.py BUILD

Nothing is installed: the packages are downloaded and unpacked into BUILD/xen, once. An image is a
few megabytes of busybox, libraries and the programs of this folder, and boots in seconds. What the
machine prints on its serial line decides; an image that does not print its closing line has failed.
"""

import gzip
import pathlib
import re
import shutil
import subprocess
import sys

import packages
import stock

MODULES = ['xen-privcmd', 'xen-evtchn', 'xen-gntdev', 'xen-gntalloc', 'xenfs']
PACKAGES = ['xen-hypervisor-4.17-amd64', 'busybox-static', *packages.UTILITIES]

PROGRAMS = [*stock.PROGRAMS, *stock.COMMAND]

# They close with how many of their checks passed and failed. They come last: they clear Xen's
# console, which others print.
CHECKS = ['refused', 'toolstack']

# Whose libxencall and libxenforeignmemory the programs get.
LIBRARY_SETS = {'stock': '', 'xencomm': '/drop-in'}


def command(*words, **options):
  return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, **options).stdout


def unpack_packages(folder):
  """Debian's Xen, kernel, programs and libraries, unpacked."""
  depends = command('apt-cache', 'depends', '--important', 'linux-image-amd64')
  kernel = re.search(r'Depends: (linux-image-\S+)', depends).group(1)
  return packages.unpack(folder, [*PACKAGES, kernel])


def needed_libraries(program, *search):
  """The files that the loader would take for a program, found without running it."""
  environment = {'LD_LIBRARY_PATH': ':'.join(map(str, search))}
  lines = command('ldd', str(program), env={'PATH': '/usr/bin:/bin', **environment})
  if 'not found' in lines:
    sys.exit(f'{program}: a library is missing:\n{lines}')
  return [pathlib.Path(path) for path in re.findall(r'(?:=> )?(/\S+) \(0x', lines)]


def add_stripped(path, place):
  """A program or library without its debug information, which is most of it: all that is in the
  image takes memory of the machine twice, packed and unpacked."""
  command('strip', '--strip-debug', '-o', str(place), str(path.resolve()))
  place.chmod(0o755)


def build_image(folder, root, build):
  """The initramfs: busybox, the modules, the programs, and two sets of libraries."""
  image = folder / 'image'
  shutil.rmtree(image, ignore_errors=True)
  for name in ['bin', 'lib', 'lib64', 'drop-in', 'modules', 'proc', 'run', 'sys', 'dev', 'var']:
    (image / name).mkdir(parents=True)
  shutil.copy(root / 'bin' / 'busybox', image / 'bin')
  for module in MODULES:
    found = list(root.glob(f'lib/modules/*/kernel/drivers/xen/**/{module}.ko*'))
    if len(found) != 1:
      sys.exit(f'the kernel has no module {module}')
    shutil.copy(found[0], image / 'modules' / f'{module}.ko')

  def add_libraries(program, *search):
    for path in needed_libraries(program, *search):
      place = image / ('lib64' if path.name.startswith('ld-linux') else 'lib') / path.name
      if not place.exists() and not (image / 'drop-in' / path.name).exists():
        add_stripped(path, place)

  # The stock libraries first: what the drop-ins replace is found beside them, never instead.
  stock_programs = {root / packages.PROGRAMS / words.split()[0] for words in stock.PROGRAMS}
  own_programs = [*(build / 'tests' / 'xen' / name for name in CHECKS),
                  build / 'hcall' / 'tools' / 'xencomm']
  for program in [*own_programs, *sorted(stock_programs)]:
    add_stripped(program, image / 'bin' / program.name)
    add_libraries(program, root / packages.LIBRARIES)
  drop_ins = sorted((build / 'hcall' / 'xencall').glob('lib*.so.1'))
  if not drop_ins:
    sys.exit(f'{build} has no drop-in libraries')  # or the run would be the stock one once more
  for library in drop_ins:
    add_stripped(library, image / 'drop-in' / library.name)
    add_libraries(library, build / 'xencomm', build / 'hcall' / 'transport', root / packages.LIBRARIES)

  init = image / 'init'
  # What a program prints stands between a line with its name and one with its exit code.
  steps = '\n'.join(f'''echo "run: {name}: {words}"
LD_LIBRARY_PATH={path}:/lib {words} </dev/null 2>&1
echo "ended: $?"''' for words in [*PROGRAMS, *CHECKS]
                    for name, path in LIBRARY_SETS.items())
  init.write_text(f'''#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
for module in {' '.join(MODULES)}; do insmod /modules/$module.ko; done
mount -t xenfs none /proc/xen
ln -s /run /var/run
mkdir -p /run/lock /var/lock
{steps}
echo "run: end: "
poweroff -f
''')
  init.chmod(0o755)
  names = command('find', '.', cwd=image)
  archive = folder / 'initramfs.cpio.gz'
  with archive.open('wb') as out:
    packed = subprocess.run(['cpio', '-o', '-H', 'newc', '--quiet'], cwd=image, check=True,
                            input=names.encode(), stdout=subprocess.PIPE).stdout
    out.write(gzip.compress(packed, 1))
  return archive


def boot(folder, root, archive):
  """Boots and answers what dom0 printed."""
  xen = folder / 'xen.elf'
  xen.write_bytes(gzip.decompress((root / 'boot' / 'xen-4.17-amd64.gz').read_bytes()))
  kernel = next((root / 'boot').glob('vmlinuz-*'))
  log = folder / 'serial.log'
  log.unlink(missing_ok=True)
  # No comma may stand in Linux' own arguments: QEMU separates modules by them. QEMU's exit code
  # says nothing.
  subprocess.run([
      'timeout', '300', 'qemu-system-x86_64', '-machine', 'pc', '-accel', 'tcg', '-cpu',
      'qemu64,+npt', '-m', '512', '-smp', '1', '-display', 'none', '-nodefaults', '-no-reboot',
      '-serial', f'file:{log}', '-kernel', str(xen), '-append',
      'console=com1 com1=115200,8n1 dom0_mem=256M,max:256M loglvl=all guest_loglvl=all', '-initrd',
      f'{kernel} console=hvc0 quiet panic=-1 preempt=full,{archive}'])
  return log.read_text(errors='replace').replace('\r', '') if log.exists() else ''


def without_console(output):
  return [line for line in output.splitlines()
          if line.strip() and not line.startswith(('(XEN)', 'ended: '))]


def main():
  if len(sys.argv) != 2:
    sys.exit('usage: run.py BUILD, the build folder')
  build = pathlib.Path(sys.argv[1]).resolve()
  folder = build / 'xen'
  root = unpack_packages(folder)
  text = boot(folder, root, build_image(folder, root, build))

  passed = failed = 0
  parts = re.split(r'^run: (.*)$', text, flags=re.MULTILINE)
  outputs = dict(zip(parts[1::2], parts[2::2]))
  for name in LIBRARY_SETS:
    for words in CHECKS:
      output = outputs.get(f'{name}: {words}', '')
      counts = re.search(r'^(\d+) passed, (\d+) failed', output, flags=re.MULTILINE)
      for line in without_console(output):
        print(f'{name}: {line}')
      if counts is None:
        print(f'{name}: {words} ended without its closing line')
        failed += 1
      else:
        passed += int(counts.group(1))
        failed += int(counts.group(2))
      for wanted in re.findall(r'^the console has: (.*)$', output, flags=re.MULTILINE):
        if not re.search(f'^{re.escape(wanted)}$', output, flags=re.MULTILINE):
          print(f'{name}: {words}: the console has no line {wanted!r}')
          failed += 1
    for words in PROGRAMS:
      output, _, ended = outputs.get(f'{name}: {words}', '').partition('ended: ')
      # Xen's own messages come in between, but where they are asked for.
      lines = output.splitlines() if words == 'xl dmesg' else without_console(output)
      problem = stock.difference(words, '\n'.join(lines))
      if not ended.startswith('0'):
        problem = f'{words}: ended with {ended.split()[:1]}'
      if problem is None:
        passed += 1
      else:
        print(f'{name}: {problem}')
        failed += 1
  if 'end: ' not in outputs:
    print('\n'.join(text.splitlines()[-30:]))
    print('the machine stopped before its end')
    failed += 1
  print(f'{passed} passed, {failed} failed')
  return 1 if failed else 0


if __name__ == '__main__':
  sys.exit(main())
