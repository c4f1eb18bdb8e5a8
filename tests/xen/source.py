"""Xen with regions (hcall/xen), and Linux's module for them (hcall/linux), of Debian's sources.

Nothing is installed: sources, headers and what they are built with are downloaded and unpacked into
a folder, once. What was built stays there, too; a change of ours builds anew what it touches.
"""

import hashlib
import os
import pathlib
import shutil
import subprocess

import packages

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
# hooks.patch finds its places by line number. The security suite's source, which the packages of
# Xen are made of, is not on every mirror; the interfaces of both are the same.
XEN = '4.17.5+72-g01140da4e8-1'
DEBIAN = 'bookworm'
COMPILER = 'gcc-12'
TOOLS = ['bison', 'flex', 'm4', 'libelf1']
# What Xen is configured with beside its defaults.
KINDS = {'release': [], 'debug': ['CONFIG_DEBUG=y']}


class Unavailable(Exception):
  """Why there is nothing to run."""


def archive(folder):
  """The packages and sources of that Debian, by apt's list of where this machine's come from."""
  try:
    found = packages.release_of_debian(DEBIAN, folder / 'apt')
    listed = folder / 'apt/sources.list'
    lines = listed.read_text().splitlines()
    listed.write_text(''.join(f'{line}\n{line.replace("deb ", "deb-src ", 1)}\n' for line in lines
                              if line.startswith('deb ')))
    found.run('apt-get', 'update')
  except (subprocess.CalledProcessError, LookupError, OSError) as error:
    raise Unavailable(f"Debian's {DEBIAN} cannot be listed: {error}") from error
  return found


def run(log, *words, **options):
  """What a build prints is in `log`; it is told when it fails."""
  with log.open('a') as out:
    done = subprocess.run([str(word) for word in words], stdout=out, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, **options)
  if done.returncode != 0:
    raise SystemExit(f'{" ".join(map(str, words))} failed:\n{log.read_text()[-4000:]}')


def put(source, place):
  """A file or a tree over what is there. What is as it was keeps its time: it is not built anew."""
  if source.is_dir():
    place.mkdir(parents=True, exist_ok=True)
    for each in source.iterdir():
      put(each, place / each.name)
  elif not place.exists() or place.read_bytes() != source.read_bytes():
    shutil.copy(source, place)


def digest(*paths):
  found = hashlib.sha256()
  for path in paths:
    for each in sorted(path.rglob('*')) if path.is_dir() else [path]:
      if each.is_file():
        found.update(str(each.relative_to(TOP)).encode() + b'\0' + each.read_bytes())
  return found.hexdigest()


class Sources:
  """All under `folder`. Raises Unavailable when something cannot be had."""

  def __init__(self, folder):
    self.folder = folder
    if shutil.which(COMPILER) is None:
      raise Unavailable(f"this machine has no {COMPILER}, of which Debian's kernel is made")
    self.archive = archive(folder)
    self.kernel = self.archive.needed_by('linux-image-amd64', r'linux-image-(\S+)')
    headers = self.archive.needed_by('linux-headers-amd64', r'linux-headers-(\S+)')
    if headers != self.kernel:
      raise Unavailable(f'the kernel is {self.kernel}, its headers are {headers}')
    try:
      self.tools = self.archive.unpack(folder / 'tools', [
          *TOOLS, f'linux-headers-{self.kernel}',
          f'linux-headers-{self.kernel.removesuffix("-amd64")}-common',
          f'linux-kbuild-{".".join(self.kernel.split(".")[:2])}', 'linux-compiler-gcc-12-x86'])
    except subprocess.CalledProcessError as error:
      raise Unavailable(f'packages cannot be downloaded: {error.stdout}') from error
    self.environment = {
        **os.environ, 'PATH': f'{self.tools}/usr/bin:{os.environ["PATH"]}', 'LC_ALL': 'C',
        'LD_LIBRARY_PATH': f'{self.tools}/{packages.LIBRARIES}',
        'BISON_PKGDATADIR': f'{self.tools}/usr/share/bison', 'M4': f'{self.tools}/usr/bin/m4'}

  def original(self):
    """Xen's source as Debian has it."""
    tree = self.folder / 'original'
    if tree.exists():
      return tree
    downloads = self.folder / 'sources'
    shutil.rmtree(downloads, ignore_errors=True)
    downloads.mkdir()
    try:
      self.archive.run('apt-get', 'source', '--only-source', '--download-only', f'xen={XEN}',
                       cwd=downloads)
    except subprocess.CalledProcessError as error:
      raise Unavailable(f"Xen's source {XEN} cannot be downloaded: {error.stdout}") from error
    unpacked = self.folder / 'unpacked'
    shutil.rmtree(unpacked, ignore_errors=True)
    unpacked.mkdir()
    tarball, = downloads.glob('*.orig.tar.*')
    subprocess.run(['tar', '-C', unpacked, '--strip-components=1', '-xf', tarball], check=True)
    unpacked.rename(tree)
    return tree

  def xen(self, kind, regions=True, patches=()):
    """The hypervisor's image, packed. `patches` are put over it besides."""
    name = f'{"regions" if regions else "plain"}-{kind}'
    tree = self.folder / '-'.join([name, *(patch.stem for patch in patches)])
    log = tree.with_suffix('.log')
    image = tree / 'xen/xen.gz'
    ours = TOP / 'hcall/xen'
    hooks = [ours / 'hooks.patch', *patches] if regions else list(patches)
    state = tree / 'made-of'
    made_of = digest(ours, *patches) if regions else digest(*patches)
    if image.exists() and state.exists() and state.read_text() == made_of:
      return image
    log.write_text('')
    hooked = tree / 'hooks'
    if not hooked.exists() or hooked.read_text() != digest(*hooks):
      shutil.rmtree(tree, ignore_errors=True)
      shutil.copytree(self.original(), tree, symlinks=True)
      for patch in hooks:
        run(log, 'patch', '-p1', '--fuzz=0', '-i', patch, cwd=tree)
    state.unlink(missing_ok=True)
    if regions:
      put(ours / 'xen', tree / 'xen')
    if not (tree / 'xen/.config').exists():
      run(log, 'make', '-C', 'xen', 'defconfig', cwd=tree, env=self.environment)
      with (tree / 'xen/.config').open('a') as config:
        config.write(''.join(f'{line}\n' for line in KINDS[kind]))
      run(log, 'make', '-C', 'xen', 'olddefconfig', cwd=tree, env=self.environment)
    hooked.write_text(digest(*hooks))
    run(log, 'make', '-C', 'xen', f'-j{os.cpu_count()}', cwd=tree, env=self.environment)
    state.write_text(made_of)
    return image

  def headers(self):
    """Of the kernel, as an external module wants them: its makefile names folders that packages are
    installed into."""
    folder = self.tools / f'usr/src/linux-headers-{self.kernel}'
    makefile = folder / 'Makefile'
    text = makefile.read_text()
    if f'{self.tools}/usr/src' not in text:
      makefile.write_text(text.replace('/usr/src', f'{self.tools}/usr/src'))
    return folder

  def module(self, source):
    """The module whose source is the folder of that name under the top. It may include what others
    have, where they lie in the tree."""
    tree = self.folder / 'modules'
    # The last two are of lockdown, whose audit is the library's.
    for name in {'hcall/linux', source, 'hcall/schema', 'xencomm'}:
      put(TOP / name, tree / name)
    folder = tree / source
    log = self.folder / f'{folder.name}.log'
    log.write_text('')
    run(log, 'make', '-C', self.headers(), f'M={folder}', f'CC={COMPILER}', 'modules',
        env=self.environment)
    module, = folder.glob('*.ko')
    return module
