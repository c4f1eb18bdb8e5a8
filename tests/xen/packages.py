"""Debian's packages of Xen, downloaded and unpacked into a folder. Nothing is installed: that would
change how the machine boots."""

import platform
import re
import shutil
import subprocess

LIBRARIES = 'usr/lib/x86_64-linux-gnu'

# Xen's own toolstack programs, and what they are linked with. The release of Xen is put in.
UTILITIES = [
    'xen-utils-{xen}', 'xenstore-utils', 'libxenmisc{xen}', 'libxencall1', 'libxendevicemodel1',
    'libxenevtchn1', 'libxenforeignmemory1', 'libxengnttab1', 'libxenhypfs1', 'libxenstore4',
    'libxentoolcore1', 'libxentoollog1', 'libyajl2', 'libuuid1', 'libnl-route-3-200',
    'libnl-3-200', 'libncurses6', 'libtinfo6',
]


class Archive:
  """The packages that apt knows, with `options` of its own: by default those of this machine."""

  def __init__(self, options=()):
    self.options = options
    # What a package without contents of its own leads to.
    self.xen = self.needed_by('xen-system-amd64', r'xen-hypervisor-([\d.]+)-amd64')

  def needed_by(self, package, name):
    depends = self.run('apt-cache', 'depends', '--important', package)
    found = re.search(f'Depends: {name}$', depends, flags=re.MULTILINE)
    if found is None:
      raise LookupError(f'{package} depends on no {name}')
    return found.group(1)

  def run(self, program, *words, **options):
    return subprocess.run([program, *self.options, *words], check=True, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options).stdout

  def unpack(self, folder, packages):
    """Answers the root of what `packages` hold, under `folder`. Done once for each list of packages;
    raises subprocess.CalledProcessError when they cannot be downloaded."""
    packages = sorted(name.format(xen=self.xen) for name in packages)
    root = folder / 'root'
    done = folder / 'unpacked'
    names = '\n'.join(packages)
    if done.exists() and done.read_text() == names:
      return root
    shutil.rmtree(root, ignore_errors=True)
    downloaded = folder / 'packages'
    shutil.rmtree(downloaded, ignore_errors=True)
    downloaded.mkdir(parents=True)
    # As the user that runs this: apt would give up its rights, and then could not write here.
    self.run('apt-get', 'download', '-q', '-o', 'APT::Sandbox::User=root', *packages,
             cwd=downloaded)
    for package in sorted(downloaded.iterdir()):
      subprocess.run(['dpkg', '-x', str(package), str(root)], check=True)
    shutil.rmtree(downloaded)
    # Debian 13 has these in usr alone, and the names by which they are asked for lead there.
    for name in ['bin', 'lib', 'lib64']:
      if not (root / name).exists():
        (root / name).symlink_to(f'usr/{name}')
    done.write_text(names)
    return root


def release_of_debian(codename, folder):
  """The packages of another release of Debian, from where this machine has its own. What apt keeps
  of them lies in `folder`."""
  own = platform.freedesktop_os_release()['VERSION_CODENAME']
  targets = subprocess.run(
      ['apt-get', 'indextargets', '--format', '$(REPO_URI) $(RELEASE) $(COMPONENT)',
       'Origin: Debian', 'Created-By: Packages'],
      check=True, text=True, stdout=subprocess.PIPE).stdout
  folder.mkdir(parents=True, exist_ok=True)
  sources = folder / 'sources.list'
  sources.write_text(''.join(
      'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] '
      f'{line.replace(f" {own}", f" {codename}")}\n' for line in targets.splitlines()))
  settings = {'Dir::Etc::SourceList': sources, 'Dir::Etc::SourceParts': '/dev/null',
              'Dir::Etc::Preferences': '/dev/null', 'Dir::Etc::PreferencesParts': '/dev/null',
              'Dir::State::Status': '/dev/null', 'Dir::State::Lists': folder / 'lists',
              'Dir::Cache': folder / 'cache', 'APT::Sandbox::User': 'root'}
  options = [word for name, value in settings.items() for word in ('-o', f'{name}={value}')]
  for name in ['lists', 'cache']:
    (folder / name).mkdir(exist_ok=True)
  # Without a network apt is content with what it has.
  subprocess.run(['apt-get', *options, 'update'], check=True, stdout=subprocess.PIPE,
                 stderr=subprocess.STDOUT)
  return Archive(options)


def utilities_of(root):
  """Where Xen's own programs lie under `root`, or None. There, a folder's name has the release."""
  return next((path.parent for path in sorted(root.glob('usr/lib/xen-*/bin/xl'))), None)
