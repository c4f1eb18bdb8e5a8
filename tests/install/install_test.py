"""Installs to a temporary root, and builds and runs README's examples against what is there.

    install_test.py SOURCE BUILD SANITIZER PROGRAM RELEASE

PROGRAM is one of libxenctrl that checks what it is answered, and of that release of Xen.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

PROGRAM, RELEASE = sys.argv[4:]
SOURCE, BUILD = (pathlib.Path(argument) for argument in sys.argv[1:3])
if sys.argv[3] != 'none':
  print('skipped: a sanitized library wants programs that are built alike; these are built as '
        'anybody builds them')
  sys.exit(77)

OPTIONS = {option['name']: option['value'] for option in json.loads(subprocess.run(
    ['meson', 'introspect', '--buildoptions', BUILD], check=True, stdout=subprocess.PIPE).stdout)}
ROOT = tempfile.TemporaryDirectory(prefix='xencomm-install-')
PREFIX = pathlib.Path(ROOT.name + OPTIONS['prefix'])
LIBDIR = PREFIX / OPTIONS['libdir']
DROP_INS = LIBDIR / 'xencomm'
ENVIRONMENT = {**os.environ,
               'LD_LIBRARY_PATH': str(LIBDIR),
               'PKG_CONFIG_PATH': str(LIBDIR / 'pkgconfig')}

EXAMPLES = {'c': ['gcc', '-std=gnu11'], 'cpp': ['g++', '-std=gnu++20']}
# What a C program includes, too.
FOR_C = ('export.h', 'op_table.h', 'sharing.h', 'xencomm.h')
# A kernel's check of a call that points out of its region.
AUDIT = r'''
#include <cstdio>

#include "hcall/schema/audit.h"
#include "hcall/schema/generated/xen.h"

using namespace xencomm;

struct OwnMemory final : Space {
  Mapping Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access,
              Cursor*) override {
    return Mapping(reinterpret_cast<std::byte*>(pointer.value + offset), length);
  }
};

int main() {
  xen_domctl_getdomaininfo info;
  xen_sysctl sysctl = {};
  sysctl.cmd = XEN_SYSCTL_getdomaininfolist;
  sysctl.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
  sysctl.u.getdomaininfolist.max_domains = 1;
  set_xen_guest_handle(sysctl.u.getdomaininfolist.buffer, &info);
  const auto address = reinterpret_cast<std::uint64_t>(&sysctl);
  const schema::Range range = {{address}, sizeof(sysctl)};
  OwnMemory space;
  const schema::Finding finding =
      schema::AuditRanges({.hypercall = __HYPERVISOR_sysctl, .registers = {address}}, {space},
                          {&range, 1}, schema::AllowedOps::All());
  std::puts(finding.problem == schema::Problem::kOutside ? "outside" : "wrong");
}
'''
EXPECTED = re.compile(r'domain 0 has \d+ pages\n')


def run(*command, **options):
  """Its output; a command that fails fails the test with what it said."""
  done = subprocess.run([str(word) for word in command], text=True, stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE, env=ENVIRONMENT, **options)
  if done.returncode != 0:
    raise AssertionError(f'{" ".join(map(str, command))}: {done.returncode}\n'
                         f'{done.stdout}{done.stderr}')
  return done.stdout


def example(language, folder, number='1'):
  path = pathlib.Path(folder) / f'example.{language}'
  run(sys.executable, SOURCE / 'tests/unit/readme_example.py', SOURCE / 'README.md', language, path,
      number)
  return path


def commands():
  names = set(re.findall(r'^  (\w+) ', run(PREFIX / 'bin/xencomm', '--help'), re.MULTILINE))
  assert 'schema' in names, names
  return names


def exports(library):
  """The (name, version) of all that the dynamic linker finds in a library."""
  found = []
  for line in run('objdump', '-T', library).splitlines():
    match = re.match(r'[0-9a-f]+ [gwu ].{6} (\S+)\s+[0-9a-f]+ +(\(?\S+?\)?)? +(\S+)$', line)
    if match and match.group(1) not in ('*UND*', '*ABS*'):
      found.append((match.group(3), (match.group(2) or '').strip('()')))
  return found


def setUpModule():
  run('meson', 'install', '-C', BUILD, '--no-rebuild', '--quiet', '--destdir', ROOT.name)


def tearDownModule():
  ROOT.cleanup()


class Install(unittest.TestCase):

  def test_puts_everything_where_it_belongs(self):
    wanted = ['bin/xencomm',
              f'{OPTIONS["libdir"]}/libxencomm.so',
              f'{OPTIONS["libdir"]}/libxencomm.so.1',
              f'{OPTIONS["libdir"]}/xencomm/libxencall.so.1',
              f'{OPTIONS["libdir"]}/xencomm/libxenforeignmemory.so.1',
              f'{OPTIONS["includedir"]}/xencomm/xencomm.h',
              f'{OPTIONS["includedir"]}/xencomm/client.h',
              f'{OPTIONS["includedir"]}/xencomm/op_table.h',
              f'{OPTIONS["includedir"]}/xencomm/sharing.h',
              f'{OPTIONS["datadir"]}/xencomm/op_table.json',
              f'{OPTIONS["datadir"]}/xencomm/op_table.schema.json',
              f'{OPTIONS["mandir"]}/man1/xencomm.1',
              f'{OPTIONS["datadir"]}/bash-completion/completions/xencomm']
    wanted += [f'{OPTIONS["mandir"]}/man1/xencomm-{name}.1' for name in commands()]
    self.assertEqual([path for path in wanted if not (PREFIX / path).exists()], [])

  def test_puts_no_drop_in_where_programs_find_it_untold(self):
    self.assertEqual(list(LIBDIR.glob('libxencall*')) + list(LIBDIR.glob('libxenforeign*')), [])

  def test_exports_nothing_without_a_version(self):
    symbols = exports(LIBDIR / 'libxencomm.so.1')
    versions = {version for _, version in symbols}
    self.assertEqual(versions,
                     {'XENCOMM_1.0', 'XENCOMM_1.1', 'XENCOMM_1.2', 'XENCOMM_CPP_1.0',
                      'XENCOMM_PRIVATE'})
    for wanted, name in (('XENCOMM_1.0', 'xencomm.h'), ('XENCOMM_1.1', 'op_table.h'),
                         ('XENCOMM_1.2', 'sharing.h')):
      c_interface = {name for name, version in symbols if version == wanted}
      header = (PREFIX / OPTIONS['includedir'] / 'xencomm' / name).read_text()
      declared = set(re.findall(r'^XENCOMM_API [^(]*?(xencomm_\w+)\(', header, re.MULTILINE))
      self.assertEqual(c_interface - {wanted}, declared)
    for name, version in symbols:
      if version == 'XENCOMM_CPP_1.0' and name != version:
        self.assertRegex(name, r'^_ZN?K?[TVIS]*N?K?7xencomm(5Arena|6Client|6Mapper|'
                               r'12GrantMapping|14ForeignMapping|10GrantShare)')


class PkgConfig(unittest.TestCase):

  def flags(self, *packages):
    # The tree is where DESTDIR put it, not where it says.
    return run('pkg-config', f'--define-variable=prefix={PREFIX}', '--cflags', '--libs',
               *packages).split()

  def test_builds_the_c_example_without_abseil(self):
    flags = self.flags('xencomm')
    self.assertFalse([flag for flag in flags if 'absl' in flag])
    with tempfile.TemporaryDirectory() as folder:
      program = pathlib.Path(folder) / 'example'
      run(*EXAMPLES['c'], example('c', folder), '-o', program, *flags)
      self.assertRegex(run(program), EXPECTED)

  def test_builds_the_cpp_example(self):
    with tempfile.TemporaryDirectory() as folder:
      program = pathlib.Path(folder) / 'example'
      source = example('cpp', folder)
      run(*EXAMPLES['cpp'], source, '-o', program, *self.flags('xencomm-cpp'))
      self.assertRegex(run(program), EXPECTED)

  def test_builds_the_example_of_the_op_table(self):
    with tempfile.TemporaryDirectory() as folder:
      program = pathlib.Path(folder) / 'example'
      source = example('cpp', folder, '2')
      run(*EXAMPLES['cpp'], source, '-o', program, *self.flags('xencomm'))
      self.assertRegex(run(program), r'^xen_version.extraversion: [^\0]*\n\.\d+\n$')

  def test_every_header_finds_what_it_includes(self):
    flags = [flag for flag in self.flags('xencomm-cpp') if not flag.startswith(('-l', '-L'))]
    for header in (PREFIX / OPTIONS['includedir'] / 'xencomm').glob('*.h'):
      with self.subTest(header.name):
        run(*EXAMPLES['cpp'], '-fsyntax-only', '-x', 'c++', header, *flags)

  def test_builds_a_program_of_nothing_but_the_freestanding_headers(self):
    flags = self.flags('xencomm-freestanding')
    headers = PREFIX / OPTIONS['includedir'] / 'xencomm-freestanding'
    self.assertEqual(flags, [f'-I{headers}', f'-L{LIBDIR}', '-lxencomm-freestanding'])
    every = [word for path in sorted(headers.rglob('*.h'))
             for word in ('-include', path.relative_to(headers))]
    self.assertIn(pathlib.Path('arch/powerpc/real_address.h'), every)
    with tempfile.TemporaryDirectory() as folder:
      program = pathlib.Path(folder) / 'freestanding'
      run(*EXAMPLES['cpp'], '-O2', '-ffreestanding', '-fno-exceptions', '-fno-rtti', '-fno-builtin',
          '-fno-stack-protector', '-nostdlib', '-static', *every,
          SOURCE / 'tests/unit/freestanding.cc', '-o', program, *flags)
      run(program)

  def test_audits_with_the_freestanding_library(self):
    with tempfile.TemporaryDirectory() as folder:
      source, program = pathlib.Path(folder, 'audit.cc'), pathlib.Path(folder, 'audit')
      source.write_text(AUDIT)
      run(*EXAMPLES['cpp'], source, '-o', program, *self.flags('xencomm-freestanding'))
      self.assertEqual(run(program), 'outside\n')

  def test_an_older_language_is_told_so_once(self):
    headers = [*(PREFIX / OPTIONS['includedir'] / 'xencomm').glob('*.h'),
               *(PREFIX / OPTIONS['includedir'] / 'xencomm-freestanding').rglob('*.h')]
    flags = self.flags('xencomm-cpp', 'xencomm-freestanding')
    for header in headers:
      if header.name in FOR_C:
        continue
      with self.subTest(header.name):
        done = subprocess.run(['g++', '-std=c++17', '-fsyntax-only', '-x', 'c++', header, *flags],
                              text=True, stderr=subprocess.PIPE)
        errors = [line for line in done.stderr.splitlines() if ' error: ' in line]
        self.assertEqual(len(errors), 2, errors)  # the sentence, and where the compiler stops
        self.assertIn('#error "xencomm needs C++20: compile with -std=c++20"', errors[0])

  def test_says_the_project_s_version(self):
    self.assertEqual(run('pkg-config', '--modversion', 'xencomm').strip(),
                     run(PREFIX / 'bin/xencomm', '--version').split()[1])


class CMake(unittest.TestCase):

  def build(self, languages, source, folder, version='1.0'):
    (folder / 'CMakeLists.txt').write_text(f"""
cmake_minimum_required(VERSION 3.25)
project(example {languages})
find_package(xencomm {version} REQUIRED)
add_executable(example {source.name})
target_link_libraries(example PRIVATE xencomm::xencomm)
""")
    run('cmake', '-G', 'Ninja', f'-DCMAKE_PREFIX_PATH={PREFIX}', '-S', folder, '-B',
        folder / 'build')
    run('cmake', '--build', folder / 'build')
    return folder / 'build/example'

  def test_builds_both_examples(self):
    for languages, language in (('C', 'c'), ('CXX', 'cpp')):
      with self.subTest(language), tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        self.assertRegex(run(self.build(languages, example(language, name), folder)), EXPECTED)

  def test_refuses_another_major_version(self):
    for version in ('0.9', '1.9', '2.0'):
      with self.subTest(version), tempfile.TemporaryDirectory() as name:
        with self.assertRaisesRegex(AssertionError, 'xencommConfig'):
          self.build('C', example('c', name), pathlib.Path(name), version)


class Command(unittest.TestCase):

  def test_runs_a_program_on_a_machine_and_over_the_installed_drop_ins(self):
    libraries = run(PREFIX / 'bin/xencomm', 'run', '--', 'ldd', PROGRAM)
    self.assertIn(f'{DROP_INS}/libxencomm-preload.so', libraries)
    self.assertNotIn(f'{DROP_INS}/libxencall.so.1', libraries)
    libraries = run(PREFIX / 'bin/xencomm', 'run', '--space=direct', '--', 'ldd', PROGRAM)
    self.assertIn(f'{DROP_INS}/libxencall.so.1', libraries)
    self.assertIn(f'{DROP_INS}/libxenforeignmemory.so.1', libraries)
    for space in ('region', 'direct'):
      done = run(PREFIX / 'bin/xencomm', 'run', f'--release={RELEASE}', f'--space={space}', '--',
                 PROGRAM)
      self.assertRegex(done.splitlines()[-1], r'^\d+ passed, 0 failed$')

  def test_manual_pages_are_well_formed(self):
    for page in sorted((PREFIX / OPTIONS['mandir'] / 'man1').iterdir()):
      # A page without a date is built alike on every day.
      said = subprocess.run(['mandoc', '-T', 'lint', '-W', 'warning', page], text=True,
                            stdout=subprocess.PIPE).stdout
      self.assertEqual([line for line in said.splitlines() if 'missing date' not in line], [])
      self.assertIn('EXIT STATUS' if page.name != 'xencomm.1' else 'COMMANDS',
                    re.sub('.\b', '', run('mandoc', '-T', 'ascii', page)))

  def test_completion_offers_what_help_says(self):
    for line, wanted in ((['xencomm', ''], commands()),
                         (['xencomm', 'walk', '--ac'], {'--access='}),
                         (['xencomm', 'walk', '--access', '=', 'w'], {'write'}),
                         (['xencomm', 'run', '--space', '=', 'walk'], {'walk4', 'walk5'}),
                         (['xencomm', 'schema', 'sysctl.getdom'], {'sysctl.getdomaininfolist'})):
      words = ' '.join(f"'{word}'" for word in line)
      offered = run('bash', '-c', f'. {PREFIX}/{OPTIONS["datadir"]}/bash-completion/completions/xencomm\n'
                    f'compopt() {{ :; }}; COMP_WORDS=({words}); COMP_CWORD={len(line) - 1}\n'
                    '_xencomm; printf "%s\\n" "${COMPREPLY[@]}"').split()
      self.assertLessEqual(wanted, set(offered), line)
      if len(line) > 2:
        self.assertEqual(wanted, set(offered), line)


if __name__ == '__main__':
  unittest.main(argv=sys.argv[:1])
