"""Debian's packages of Xen, downloaded and unpacked into a folder. Nothing is installed: that would
change how the machine boots."""

import pathlib
import shutil
import subprocess

LIBRARIES = 'usr/lib/x86_64-linux-gnu'
PROGRAMS = 'usr/lib/xen-4.17/bin'

# Xen's own toolstack programs, and what they are linked with.
UTILITIES = [
    'xen-utils-4.17', 'xenstore-utils', 'libxenmisc4.17', 'libxencall1', 'libxendevicemodel1',
    'libxenevtchn1', 'libxenforeignmemory1', 'libxengnttab1', 'libxenhypfs1', 'libxenstore4',
    'libxentoolcore1', 'libxentoollog1', 'libyajl2', 'libuuid1', 'libnl-route-3-200',
    'libnl-3-200', 'libncurses6', 'libtinfo6',
]


def unpack(folder, packages):
  """Answers the root of what `packages` hold, under `folder`. Done once for each list of packages;
  raises subprocess.CalledProcessError when they cannot be downloaded."""
  root = folder / 'root'
  done = folder / 'unpacked'
  names = '\n'.join(sorted(packages))
  if done.exists() and done.read_text() == names:
    return root
  shutil.rmtree(folder, ignore_errors=True)
  downloaded = folder / 'packages'
  downloaded.mkdir(parents=True)
  # As the user that runs this: apt would give up its rights, and then could not write here.
  subprocess.run(['apt-get', 'download', '-q', '-o', 'APT::Sandbox::User=root', *packages],
                 cwd=downloaded, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
  for package in sorted(downloaded.iterdir()):
    subprocess.run(['dpkg', '-x', str(package), str(root)], check=True)
  shutil.rmtree(downloaded)
  done.write_text(names)
  return root


def installed_utilities():
  """Where xen-utils-4.17 is installed on this machine, or None."""
  folder = pathlib.Path('/') / PROGRAMS
  return folder if (folder / 'xl').exists() else None
