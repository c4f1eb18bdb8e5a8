"""Runs Debian 13's programs, with its C library and loader, on a machine as Xen 4.20.

    debian13_programs.py XENCOMM FOLDER

They are the packages', unpacked into FOLDER and not installed, and are to print, line by line, what
they print on real Xen 4.20 (tests/xen/transcript.py, tests/xen/stock.py).
"""

import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'xen'))
import guest_kernel
import packages
import release
import stock
import transcript

SKIPPED = 77  # to Meson


def main():
  xencomm, folder = (pathlib.Path(os.path.abspath(path)) for path in sys.argv[1:])
  # xenconsoled wants to be root, and does with being so in a namespace of its own.
  as_root = [] if os.geteuid() == 0 else ['unshare', '--map-root-user']
  if subprocess.run([*as_root, 'true']).returncode != 0:
    print('skipped: xenconsoled wants to be root, and this user may have no user namespace')
    return SKIPPED
  try:
    root = release.archive(folder).unpack(folder, release.PROGRAMS)
  except (OSError, LookupError, subprocess.CalledProcessError) as error:
    print(f"skipped: Debian 13's programs cannot be downloaded: {error}")
    return SKIPPED
  folders = [packages.utilities_of(root), root / 'usr/bin', pathlib.Path('/bin')]

  with tempfile.TemporaryDirectory() as place:
    place = pathlib.Path(place)
    (place / 'kernel').write_bytes(guest_kernel.kernel())
    for kind in transcript.GUESTS:
      (place / f'{kind}.cfg').write_text(transcript.configuration(kind, place / 'kernel'))
    socket = place / 'machine'
    machine = subprocess.Popen([xencomm, 'machine', f'--socket={socket}',
                                f'--release={release.XEN}', *transcript.OPTIONS],
                               stdout=subprocess.PIPE, text=True)
    machine.stdout.readline()

    console = subprocess.Popen([xencomm, 'run', f'--machine={socket}', '--', *as_root,
                                *release.loaded(root, folders[0] / 'xenconsoled'), '-i'],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def run(words):
      name, *arguments = words.split()
      program = next(folder / name for folder in folders if (folder / name).exists())
      # A session's files lie in `place`, as they lie at the top on real Xen.
      arguments = [f'{place}{word}' if word in transcript.FILES else word for word in arguments]
      with open(place / 'printed', 'w+') as out:  # what a program leaves behind would hold a pipe
        done = subprocess.run(['timeout', '60', xencomm, 'run', f'--machine={socket}', '--',
                               *release.loaded(root, program), *arguments],
                              stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        out.seek(0)
        return out.read().replace(str(place), ''), done.returncode

    printed = [(words, transcript.entry(*run(words))) for words, _ in transcript.expected()]
    failed = 0
    for words in stock.PROGRAMS:
      output, code = run(words)
      problem = stock.difference(words, output, release.XEN)
      if problem is not None or code != 0:
        print(problem or f'{words}: ended with {code}')
        failed += 1
    console.terminate()
    console.wait(20)
    machine.terminate()
    if machine.wait(20) != 0:
      print(f'the machine ended with {machine.returncode}')
      failed += 1
  failed += transcript.differences(printed, 'machine')
  print(f'{len(stock.PROGRAMS) + len(printed)} commands, {failed} failed')
  return 1 if failed else 0


sys.exit(main())
