"""QEMU as the front-end of the vhost-user block device: a guest boots from it, reads and writes.

    vhost_user_qemu.py XENCOMM BOOT_SOURCE CC...

The guest's memory is a file that QEMU shares; no Xen is in it. Its boot sector asks the BIOS for
all of a pattern, and then to write a sector. QEMU's exit code says nothing: the guest's lines do.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

XENCOMM, SOURCE = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
CC = sys.argv[3:]
QEMU = 'qemu-system-x86_64'
SECTOR, PATTERN_AT, SECTORS, STEP = 512, 8, 2048, 0x9e3779b1


def skip_reason():
  if not shutil.which(QEMU):
    return f'no {QEMU}'
  devices = subprocess.run([QEMU, '-device', 'help'], text=True, stdout=subprocess.PIPE).stdout
  if '"vhost-user-blk-pci"' not in devices:
    return f'this {QEMU} has no vhost-user-blk-pci'
  if os.uname().machine != 'x86_64':
    return 'the compiler of another machine makes no boot sector'
  return None


REASON = skip_reason()
if REASON:
  print('skipped:', REASON)
  sys.exit(77)


class Guest(unittest.TestCase):

  def setUp(self):
    folder = tempfile.TemporaryDirectory(prefix='xencomm-vhost-')
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name)
    self.socket = self.folder / 'socket'
    self.image = self.folder / 'disk.img'
    boot = self.folder / 'boot'
    subprocess.run([*CC, '-m32', '-nostdlib', '-static', '-no-pie', '-Wl,--build-id=none',
                    '-Wl,-Ttext=0x7c00', '-Wl,--oformat=binary', '-o', boot, SOURCE], check=True)
    sector = boot.read_bytes()
    self.assertEqual((len(sector), sector[-2:]), (SECTOR, b'\x55\xaa'))
    pattern = b''.join((i * STEP & 0xffffffff).to_bytes(4, 'little')
                       for i in range(SECTORS * SECTOR // 4))
    self.contents = sector + bytes((PATTERN_AT - 1) * SECTOR) + pattern
    self.image.write_bytes(self.contents)

  def serve(self, *options):
    server = subprocess.Popen([XENCOMM, 'vhost-user-block', f'--socket={self.socket}',
                               f'--image={self.image}', *options], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    self.addCleanup(server.wait)
    self.addCleanup(server.kill)
    self.assertEqual(server.stdout.readline(),
                     f'xencomm vhost-user-block: ready at {self.socket}\n')
    return server

  def stop(self, server):
    """It ends when it is asked to, and has nothing to complain of."""
    server.send_signal(signal.SIGTERM)
    out, err = server.communicate(timeout=20)
    self.assertEqual((server.returncode, out, err), (0, '', ''))
    self.assertFalse(self.socket.exists())

  def boot(self):
    """The lines that the guest printed."""
    done = subprocess.run(
        ['timeout', '60', QEMU, '-machine', 'pc,memory-backend=memory', '-accel', 'tcg', '-m', '32',
         '-object', 'memory-backend-memfd,id=memory,size=32M,share=on',
         '-chardev', f'socket,id=disk,path={self.socket}',
         '-device', 'vhost-user-blk-pci,chardev=disk,bootindex=0',
         '-nodefaults', '-display', 'none', '-no-reboot', '-serial', 'stdio'],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors='replace')
    return done.stdout.splitlines()

  def test_boots_reads_and_writes_one_after_the_other(self):
    server = self.serve()
    for _ in range(2):
      self.image.write_bytes(self.contents)
      self.assertEqual(self.boot(), ['read: as it was written', 'write: done'])
      written = b'W' + self.contents[-64 * SECTOR:][1:SECTOR]
      expected = self.contents[:SECTOR] + written + self.contents[2 * SECTOR:]
      self.assertTrue(self.image.read_bytes() == expected)
    self.stop(server)

  def test_a_disk_that_is_read_only_is_not_written(self):
    server = self.serve('--read-only')
    self.assertEqual(self.boot(), ['read: as it was written', 'write: failed'])
    self.assertTrue(self.image.read_bytes() == self.contents)
    self.stop(server)

  def test_what_is_not_the_pattern_is_noticed(self):
    changed = bytearray(self.contents)
    changed[-1] ^= 1
    self.image.write_bytes(changed)
    server = self.serve()
    self.assertEqual(self.boot(), ['read: something else'])
    self.stop(server)

  def test_a_guest_that_is_killed_leaves_the_disk_to_the_next(self):
    server = self.serve()
    arguments = ['timeout', '--signal=KILL', '0.5', QEMU, '-machine', 'pc,memory-backend=memory',
                 '-accel', 'tcg', '-m', '32',
                 '-object', 'memory-backend-memfd,id=memory,size=32M,share=on',
                 '-chardev', f'socket,id=disk,path={self.socket}',
                 '-device', 'vhost-user-blk-pci,chardev=disk,bootindex=0',
                 '-nodefaults', '-display', 'none']
    subprocess.run(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    self.assertEqual(self.boot(), ['read: as it was written', 'write: done'])
    self.stop(server)


if __name__ == '__main__':
  unittest.main(argv=sys.argv[:1])
