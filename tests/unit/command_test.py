"""The command, as people and programs use it, on the embedded hypervisor.

    command_test.py XENCOMM
"""

import array
import json
import os
import pathlib
import re
import resource
import struct
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

XENCOMM = pathlib.Path(sys.argv[1]).resolve()
TOP = pathlib.Path(__file__).resolve().parents[2]

PRESENT, WRITABLE, USER, ACCESSED, DIRTY = 1, 2, 4, 1 << 5, 1 << 6
LARGE, NO_EXECUTE = 1 << 7, 1 << 63


def run(*arguments, **options):
  return subprocess.run([XENCOMM, *map(str, arguments)], text=True, stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE, **options)


COMMANDS = re.findall(r'^  ([\w-]+) ', run('--help').stdout, re.MULTILINE)


class CommandTest(unittest.TestCase):

  def text(self, *arguments, **options):
    done = run(*arguments, **options)
    self.assertEqual((done.returncode, done.stderr), (0, ''), arguments)
    return done.stdout

  def json(self, *arguments):
    return json.loads(self.text(*arguments, '--json'))

  def refused(self, sentence, *arguments, code=2):
    """One line on stderr, which says so, and nothing else."""
    done = run(*arguments)
    self.assertEqual((done.returncode, done.stdout), (code, ''), done.stderr)
    self.assertEqual(done.stderr.count('\n'), 1, done.stderr)
    self.assertIn(sentence, done.stderr)


class Usage(CommandTest):

  def test_every_command_is_listed_and_explains_itself(self):
    overview = self.text('--help')
    self.assertIn('schema', COMMANDS)
    for name in COMMANDS:
      summary = re.search(rf'^  {name} +(.+)$', overview, re.MULTILINE).group(1)
      help_text = self.text(name, '--help')
      self.assertIn(summary, help_text)
      self.assertTrue(help_text.startswith(f'Usage: xencomm {name} '))
      self.assertLessEqual(max(map(len, help_text.splitlines())), 80)

  def test_manual_and_completion_have_all_options_of_help(self):
    completion = self.text('--write-manual', 'completion')
    for name in COMMANDS:
      options = re.findall(r'^  (?:-\w, )?--([\w-]+)', self.text(name, '--help'), re.MULTILINE)
      self.assertIn('help', options)
      page = self.text('--write-manual', name).replace('\\-', '-')
      for option in options:
        self.assertRegex(page, rf'(?m)^\.B (-\w, )?--{option}\b')
        self.assertIn(f'--{option}', completion)

  def test_help_says_what_an_option_takes(self):
    for option in ('--access=ACCESS.*; read, write, execute', '--cpus=COUNT.*; 1 to 64',
                   '--cr3=ADDRESS.*; a number, decimal or 0x'):
      self.assertRegex(' '.join(self.text('walk', '--help').split()), option)

  def test_wrong_words_are_refused_in_one_sentence(self):
    self.refused("there is no command 'fly'", 'fly')
    for name in COMMANDS:
      self.refused("there is no option '--fly'", name, '--fly')
      self.refused("there is no option '-x'", name, '-x')
    self.refused('--op wants a value: expected --op=OP', 'layout', '--op')
    self.refused('--json takes no value', 'info', '--json=yes')
    for name in ('info', 'list', 'layout'):
      self.refused("'more' is one argument too many: expected [OPTION...]", name, 'more')
    self.refused("'more' is one argument too many: expected [OPTION...] [POINTER]", 'walk', '0',
                 'more')
    self.refused('--cpus=0: expected 1 to 64', 'info', '--cpus=0')
    self.refused('--space=fast: expected direct', 'list', '--space=fast')
    self.refused('expected it without --xen', 'info', '--xen', '--cpus=2')
    self.refused('expected a PROGRAM', 'run')
    self.refused("'fly' is neither a hypercall nor an op", 'schema', 'fly')
    self.refused('expected no NAME', 'schema', '--json', 'sysctl')
    self.refused("'domctl' is one argument too many: expected [OPTION...] [NAME]", 'schema', 'sysctl',
                 'domctl')

  def test_the_embedded_machine_is_as_the_options_say(self):
    small = ['--memory=64M', '--dom0=16M']
    self.assertLess(int(self.json('walk', *small)['guest_physical'], 16), 16 << 20)
    self.assertLess(int(self.json('layout', '--pages=16', *small)['header'], 16), 16 << 20)

  def test_operands_of_run_reach_the_program_as_they_are(self):
    words = ['[a,b]', '', '--cpus=x', '--help', '--', '-x']
    for before in ([], ['--'], ['--cpus=2'], ['--cpus', '2', '--']):
      self.assertEqual(self.text('run', *before, 'printf', r'%s\n', *words).split('\n')[:-1], words)

  def test_numbers_are_decimal_or_hexadecimal(self):
    for pages in ('0x10', '16', '016'):
      layout = self.json('layout', '--op=sysctl.physinfo', f'--pages={pages}')
      self.assertEqual(layout['length'] - layout['payload_offset'], 16 << 12)
    for pages in ('-1', '0x', '1e3', '', '0x10000000000000010'):
      self.refused(f'--pages={pages}: expected 1 to 262144', 'layout', f'--pages={pages}')

  def test_help_is_given_whatever_else_is_missing(self):
    for arguments in (['run', '-h'], ['walk', '-h', '--cr3=0'], ['list', '--help', 'more']):
      self.assertIn('Usage:', self.text(*arguments))

  def test_there_is_no_manual_of_what_is_not_there(self):
    self.assertEqual(run('--write-manual', 'fly').returncode, 2)

  def test_without_words_it_says_what_there_is(self):
    done = run()
    self.assertEqual((done.returncode, done.stdout), (2, ''))
    self.assertIn('Commands:', done.stderr)

  def test_a_disk_is_served_from_a_file_and_says_what_it_lacks(self):
    name = 'vhost-user-block'
    self.refused('expected --socket=FILE', name)
    self.refused('expected --image=FILE', name, '--socket=/tmp/s')
    self.refused('--domain=32752: expected 0 to 32751', name, '--domain=32752')
    self.refused('--machine: expected --domain with it', name, '--machine=/tmp/m')
    self.refused('--xen: expected --domain with it', name, '--xen')
    with tempfile.TemporaryDirectory() as folder:
      options = [f'--socket={folder}/s', f'--image={folder}/i']
      self.refused('--domain: expected --machine or --xen', name, *options, '--domain=1')
      self.refused(f'the image {folder}/i cannot be opened: No such file', name, *options, code=1)
      image = pathlib.Path(folder, 'i')
      image.write_bytes(bytes(511))
      self.refused('has 511 bytes: expected a sector', name, *options, code=1)
      image.write_bytes(bytes(512))
      self.refused('no socket can be made', name, f'--socket={folder}/no/s', options[1], code=1)
      self.refused('at most 107 bytes', name, f'--socket={"s" * 108}', options[1])
      if not pathlib.Path('/dev/xen/privcmd').exists():
        self.refused('/dev/xen/privcmd cannot be opened', name, *options, '--domain=1', '--xen',
                     code=1)

  def test_what_is_not_there_is_an_error_of_another_kind(self):
    if not pathlib.Path('/dev/xen/privcmd').exists():
      self.refused('/dev/xen/privcmd cannot be opened', 'info', '--xen', code=1)
    self.refused('no-such-file', 'walk', '--image=no-such-file', '--cr3=0', '0', code=1)
    self.refused('cannot be run', 'run', '--', './no-such-program', code=127)


class Programs(CommandTest):
  """What `run` says of a program before it runs."""

  STATIC = 'statically linked'

  def setUp(self):
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name)

  def built(self, name, *options):
    source = self.folder / 'program.c'
    source.write_text('int main(void) { return 7; }\n')
    program = self.folder / name
    subprocess.run(['cc', *options, '-o', program, source], check=True)
    return program

  def script(self, name, first_line):
    script = self.folder / name
    script.write_text(f'{first_line}\nexit 7\n')
    script.chmod(0o755)
    return script

  def warned(self, sentence, *arguments, **options):
    """One line on stderr, which says so, and the program has run."""
    done = run('run', *arguments, **options)
    self.assertEqual((done.returncode, done.stderr.count('\n')), (7, 1), done.stderr)
    self.assertIn(f'warning: {sentence}', done.stderr)

  def test_of_a_static_one_it_warns(self):
    for options in (['-static'], ['-static-pie']):
      program = self.built('static', *options)
      self.warned(f"'{program}' is {self.STATIC}", program)
      self.warned(f"'{program}' is {self.STATIC}", '--space=direct', program)
      path = {**os.environ, 'PATH': f'/nowhere:{self.folder}:{os.environ["PATH"]}'}
      self.warned(f"'{program}' is {self.STATIC}", 'static', env=path)
      # A script is its interpreter, and what that one is interpreted by.
      script = self.script('script', f'#! {program} -x')
      self.warned(f"'{program}' is {self.STATIC}", script)
      self.warned(f"'{program}' is {self.STATIC}", self.script('outer', f'#!{script}'))

  def test_of_others_it_does_not(self):
    dynamic = self.built('dynamic')
    loader = re.search(r'\[Requesting program interpreter: (.*)\]', subprocess.run(
        ['readelf', '-l', dynamic], check=True, text=True, stdout=subprocess.PIPE).stdout).group(1)
    for arguments in ([dynamic], [self.built('no-pie', '-no-pie')], [loader, dynamic],
                      [self.script('script', '#!/bin/sh')], ['sh', '-c', 'exit 7']):
      done = run('run', '--', *arguments)
      self.assertEqual((done.returncode, done.stderr), (7, ''), arguments)

  def test_files_that_are_no_programs_are_left_to_the_kernel(self):
    whole = self.built('static', '-static').read_bytes()
    for name, contents in (('empty', b''), ('cut', whole[:80]), ('short', whole[:20]),
                           ('no-segments', whole[:32] + b'\xff' * 8 + whole[40:]),
                           ('endless', b'#!' + b'x' * 5000), ('nothing', b'#!\n')):
      program = self.folder / name
      program.write_bytes(contents)
      program.chmod(0o755)
      # A shell reads what the kernel does not, and may write where it is.
      done = run('run', '--', program, errors='replace', cwd=self.folder)
      self.assertNotIn(self.STATIC, done.stderr, name)
    circle = self.script('circle', f'#!{self.folder}/circle')
    self.assertIn('cannot be run', run('run', '--', circle).stderr)

  def test_one_that_gains_rights_is_not_run(self):
    if os.getuid() != 0:
      self.skipTest('only root can give a file to another')
    program = self.built('program')
    for owner, group, mode, word in ((65534, 0, 0o4755, 'setuid'), (0, 65534, 0o2755, 'setgid')):
      os.chown(program, owner, group)
      program.chmod(mode)
      self.refused(f"'{program}' is {word}: expected", 'run', '--', program, code=1)
      self.refused(f"'{program}' is {word}: expected", 'run', self.script('s', f'#!{program}'),
                   code=1)
    # A user's own, and one whose group may not run it.
    for owner, group, mode in ((0, 0, 0o6755), (65534, 65534, 0o0755), (0, 65534, 0o2745)):
      os.chown(program, owner, group)
      program.chmod(mode)
      self.assertEqual((run('run', program).returncode, run('run', program).stderr), (7, ''), mode)

  def test_of_devices_that_the_host_has_it_warns(self):
    if pathlib.Path('/dev/xen/privcmd').exists():
      self.skipTest('the host has them')
    own_dev = ['unshare', '--map-root-user', '--mount', 'sh', '-ec',
               'mount -t tmpfs none /dev; mkdir /dev/xen; : >/dev/xen/privcmd; exec "$@"', 'sh']
    if subprocess.run([*own_dev, 'true'], stderr=subprocess.DEVNULL).returncode != 0:
      self.skipTest('no mount namespaces')
    done = subprocess.run([*own_dev, XENCOMM, 'run', '--', 'sh', '-c', 'exit 7'], text=True,
                          stderr=subprocess.PIPE)
    self.assertEqual((done.returncode, done.stderr.count('\n')), (7, 1), done.stderr)
    self.assertIn('warning: this host has a /dev/xen/privcmd itself', done.stderr)


class Info(CommandTest):

  def test_tells_the_hypervisor_and_the_machine(self):
    info = self.json('info', '--cpus=3', '--memory=2G', '--dom0=256M')
    self.assertRegex(info['xen']['version'], r'^4\.17')
    self.assertEqual(info['machine']['cpus'], 3)
    self.assertLess(info['machine']['free_bytes'], (2 << 30) - (256 << 20))
    self.assertGreater(info['machine']['free_bytes'], 1 << 30)
    self.assertIn('pv', info['machine']['capabilities'])
    self.assertEqual(info['transport'], 'embedded:memory=2G,dom0=256M,cpus=3')
    text = self.text('info', '--cpus=3')
    self.assertRegex(text, r'(?m)^cpus +3, on 1 node')
    self.assertIn(info['xen']['version'], text)

  def test_probes_for_regions(self):
    self.assertIs(self.json('info', '--space=walk4')['regions'], True)
    # A domain of the historical ABI has no such bit.
    self.assertIs(self.json('info', '--space=xcom')['regions'], False)

  def test_takes_the_transport_of_the_environment(self):
    info = json.loads(self.text('info', '--json',
                                env={'XENCOMM_TRANSPORT': 'embedded:space=walk5,cpus=2'}))
    self.assertEqual(info['machine']['cpus'], 2)
    self.assertIn('walk5', info['transport'])


class List(CommandTest):

  def test_lists_domain_0(self):
    domains = self.json('list', '--dom0=64M', '--vcpus=2')['domains']
    self.assertEqual([domain['id'] for domain in domains], [0])
    self.assertEqual(domains[0]['memory_bytes'], 64 << 20)
    self.assertEqual(domains[0]['vcpus'], 2)
    self.assertIn('running', domains[0]['state'])
    lines = self.text('list', '--dom0=64M', '--vcpus=2').splitlines()
    self.assertEqual(len(lines), 2)
    self.assertRegex(lines[1], r'^ +0  [0-9a-f-]{36} +64 +2  r---- +\d+\.\d$')


class Layout(CommandTest):

  def test_shows_arrays_at_two_levels(self):
    layout = self.json('layout')
    self.assertEqual(layout['op'], 'platform_op.set_processor_pminfo')
    structures = layout['structures']
    op, states = structures[0], structures[1]
    targets = [field['points_to'] for field in op['fields'] if 'points_to' in field]
    self.assertEqual(targets, [1])
    nested = [field['points_to'] for field in states['fields'] if 'points_to' in field]
    self.assertEqual(nested, [2, 3, 4])
    for index in nested:
      self.assertEqual(structures[index]['type'], 'xen_processor_csd')
    text = self.text('layout')
    self.assertRegex(text, r'(?m)^ +24  u\.power\.states -> \+0x\w+$')

  def test_granules_cover_the_region_and_lie_apart(self):
    layout = self.json('layout', '--op=sysctl.getdomaininfolist', '--pages=100')
    granule = 1 << layout['granule_shift']
    at, seen = 0, set()
    for run_ in layout['granules']:
      self.assertEqual(run_['first'], at)
      at += run_['count']
      if run_['kind'] == 'not backed':
        continue
      frames = range(int(run_['guest_physical'], 16) // granule,
                     int(run_['guest_physical'], 16) // granule + run_['count'])
      self.assertFalse(seen.intersection(frames))
      seen.update(frames)
    self.assertEqual(at * granule, layout['length'])
    self.assertEqual(layout['granules'][0]['guest_physical'], layout['header'])
    self.assertEqual(layout['length'] - layout['payload_offset'], 100 * granule)
    for structure in layout['structures']:
      self.assertGreaterEqual(structure['offset'], layout['payload_offset'])
      self.assertLessEqual(structure['offset'] + structure['bytes'], layout['length'])

  def test_lists_alike_what_is_not_implemented(self):
    rows = self.json('schema', '--unimplemented')['unimplemented']
    known = {(call['name'], op['name'], op['number'])
             for call in self.json('schema')['hypercalls'] for op in call['ops']}
    self.assertEqual([row for row in rows
                      if (row['hypercall'], row['op'], row['number']) not in known], [])
    self.assertEqual([f'{row["answer"]:<12} {row["hypercall"]}.{row["op"]}' for row in rows],
                     self.text('schema', '--unimplemented').splitlines())
    self.refused('expected no NAME', 'schema', '--unimplemented', 'sysctl')

  def test_lays_out_every_op_that_has_anything_in_memory(self):
    registers_alone = 0
    ops = [f'{call["name"]}.{op["name"]}' for call in self.json('schema')['hypercalls']
           for op in call['ops']]
    self.assertGreater(len(ops), 300)
    with tempfile.TemporaryDirectory() as folder:
      picture = f'{folder}/picture.svg'
      for op in ops:
        done = run('layout', f'--op={op}', '--json', '--elements=20', f'--svg={picture}')
        if 'registers alone' in done.stderr:
          registers_alone += 1
          continue
        self.assertEqual((done.returncode, done.stderr), (0, ''), op)
        self.assertEqual(json.loads(done.stdout)['op'], op)
        self.picture(picture)
    self.assertLess(registers_alone, len(ops) / 4)

  def picture(self, path):
    root = xml.etree.ElementTree.parse(path).getroot()
    self.assertTrue(root.tag.endswith('svg'))
    width, height = (float(root.get(side)) for side in ('width', 'height'))
    texts = []
    for element in root.iter():
      if element.tag.endswith('}text'):
        texts.append(element.text)
        self.assertLessEqual(float(element.get('x')), width)
        self.assertLessEqual(float(element.get('y')), height)
      if element.tag.endswith('}rect') and element.get('x'):
        self.assertLessEqual(float(element.get('x')) + float(element.get('width')), width)
        self.assertLessEqual(float(element.get('y')) + float(element.get('height')), height)
        self.assertGreater(float(element.get('height')), 0)
    return texts

  def test_picture_names_fields_and_frames(self):
    with tempfile.TemporaryDirectory() as folder:
      path = f'{folder}/picture.svg'
      layout = json.loads(self.text('layout', '--op=sysctl.getdomaininfolist', '--elements=30',
                                    '--json', f'--svg={path}'))
      texts = self.picture(path)
      for field in layout['structures'][0]['fields']:
        self.assertIn(field['name'], texts)
      self.assertIn('buffer[30]', texts)
      self.assertIn('XEN_SYSCTL_getdomaininfolist', texts)
      for structure in layout['structures']:
        self.assertIn(f'+{structure["offset"]:#x}', texts)
      self.assertIn(layout['granules'][0]['guest_physical'], texts)

  def test_picture_in_readme_is_what_the_command_draws(self):
    # Addresses are where the process happens to be.
    def drawn(path):
      return re.sub('0x[0-9a-f]+', '0x', pathlib.Path(path).read_text())

    readme = TOP / 'README.md'
    picture = re.search(r'`xencomm layout --svg=(\S+)` drew this', readme.read_text()).group(1)
    self.assertIn(f']({picture})', readme.read_text())
    with tempfile.TemporaryDirectory() as folder:
      path = f'{folder}/picture.svg'
      self.text('layout', f'--svg={path}')
      self.assertEqual(drawn(path), drawn(TOP / picture))

  def test_picture_of_hundreds_of_granules_stays_readable(self):
    with tempfile.TemporaryDirectory() as folder:
      path = f'{folder}/picture.svg'
      self.assertEqual(self.text('layout', '--op=memory_op.populate_physmap', '--elements=150000',
                                 f'--svg={path}'), '')
      texts = self.picture(path)
      self.assertIn('extent_start[150000]', texts)
      self.assertLess(len(texts), 80)
      root = xml.etree.ElementTree.parse(path).getroot()
      self.assertLess(float(root.get('height')), 1000)

  def test_wrong_arguments(self):
    self.refused("--op=fly: expected HYPERCALL.OP", 'layout', '--op=fly')
    self.refused("--op=sysctl.fly: expected", 'layout', '--op=sysctl.fly')
    self.refused('--elements=0: expected 1 to 1048576', 'layout', '--elements=0')
    self.refused('--pages=x: expected 1 to 262144', 'layout', '--pages=x')
    for argument in ('--region=0x1000', '--argument=0x1000', '--big-endian'):
      self.refused(f'{argument.split("=")[0]}: expected --image with it', 'layout', argument)
    self.refused('expected --region=ADDRESS', 'layout', f'--image={__file__}')
    self.refused('expected --op and --argument together', 'layout', f'--image={__file__}',
                 '--region=0', '--argument=0x1000')
    self.refused('takes registers alone', 'layout', '--op=sched_op.yield', code=1)
    self.refused('expected fewer --elements or more --pages', 'layout', '--pages=2', code=1)
    self.refused('cannot be written', 'layout', '--svg=/no/such/folder/picture.svg', code=1)


class Image:
  """Guest-physical memory, built word by word."""

  def __init__(self, pages):
    self.bytes = bytearray(pages * 4096)

  def store(self, address, word):
    struct.pack_into('<Q', self.bytes, address, word)

  def file(self, folder):
    path = pathlib.Path(folder) / 'image'
    path.write_bytes(self.bytes)
    return f'--image={path}'


INNER = PRESENT | WRITABLE | USER | ACCESSED
POINTER = 0x7f1234567abc


def indices(pointer, levels):
  return [pointer >> shift & 511 for shift in (48, 39, 30, 21, 12)][5 - levels:]


def paged(levels, leaf, leaf_level=1):
  """POINTER through tables at 0x1000, 0x2000, ...; `leaf` ends the report at `leaf_level`."""
  image = Image(8)
  table = 0x1000
  for level, index in zip(range(levels, 0, -1), indices(POINTER, levels)):
    last = level == leaf_level
    image.store(table + 8 * index, leaf if last else (table + 0x1000) | INNER)
    if last:
      break
    table += 0x1000
  return image


class Walk(CommandTest):

  def walk(self, image, *arguments):
    with tempfile.TemporaryDirectory() as folder:
      return self.json('walk', image.file(folder), '--cr3=0x1000', *arguments, hex(POINTER))

  def test_follows_four_and_five_levels(self):
    for levels, names in ((4, ['PML4', 'PDPT', 'PD', 'PT']), (5, ['PML5', 'PML4', 'PDPT', 'PD',
                                                                  'PT'])):
      with self.subTest(levels):
        report = self.walk(paged(levels, 0x6000 | INNER | DIRTY | NO_EXECUTE), f'--levels={levels}')
        self.assertEqual([step['table'] for step in report['steps']], names)
        self.assertEqual([step['index'] for step in report['steps']], indices(POINTER, levels))
        self.assertEqual([step['address'] for step in report['steps']],
                         [hex(0x1000 * (i + 1) + 8 * index)
                          for i, index in enumerate(indices(POINTER, levels))])
        self.assertEqual(report['steps'][-1]['flags'], ['P', 'RW', 'US', 'A', 'D', 'NX'])
        self.assertEqual(report['guest_physical'], hex(0x6000 + POINTER % 4096))
        self.assertNotIn('fault', report)

  def test_large_pages_end_the_walk(self):
    report = self.walk(paged(4, 0x4020_0000 | INNER | LARGE, leaf_level=2))
    self.assertEqual(len(report['steps']), 3)
    self.assertIn('PS', report['steps'][-1]['flags'])
    self.assertEqual(report['guest_physical'], hex(0x4020_0000 + POINTER % (2 << 20)))

  def test_names_each_fault_with_its_error_code(self):
    page = 0x6000 | INNER
    for leaf, level, arguments, code, flags in (
        (0, 1, [], 0x4, ['U/S']),
        (page & ~USER, 1, [], 0x5, ['P', 'U/S']),
        (page & ~WRITABLE, 1, ['--access=write'], 0x7, ['P', 'W/R', 'U/S']),
        (page & ~WRITABLE, 1, ['--access=write', '--supervisor'], 0x3, ['P', 'W/R']),
        (page | NO_EXECUTE, 1, ['--access=execute'], 0x15, ['P', 'U/S', 'I/D']),
        (page | LARGE, 4, [], 0xd, ['P', 'U/S', 'RSVD'])):
      with self.subTest(hex(leaf)):
        report = self.walk(paged(4, leaf, leaf_level=level), *arguments)
        self.assertEqual(report['fault']['level'], level)
        self.assertEqual(report['fault']['error_code'], code)
        self.assertEqual(report['fault']['error_flags'], flags)
        self.assertNotIn('guest_physical', report)

  def test_what_raises_no_page_fault_has_no_error_code(self):
    report = self.walk(paged(4, 0x7fff_f000 | INNER, leaf_level=2))
    self.assertIn('no memory', report['fault']['why'])
    self.assertNotIn('error_code', report['fault'])
    with tempfile.TemporaryDirectory() as folder:
      text = self.text('walk', paged(4, 0).file(folder), '--cr3=0x1000', '0x800000000000')
      self.assertIn('Fault: not a canonical address; #GP, not #PF', text)

  def test_shows_it_to_people(self):
    with tempfile.TemporaryDirectory() as folder:
      image = paged(4, 0x6000 | INNER).file(folder)
      text = self.text('walk', image, '--cr3=0x1000', hex(POINTER))
      self.assertRegex(text, r'(?m)^PML4 +254  0x00000000000017f0  0x0000000000002027  P RW US A$')
      self.assertIn(f'Guest-physical {0x6000 + POINTER % 4096:#x};', text)

  def test_both_spaces_of_the_embedded_process_end_at_one_byte(self):
    for levels in (4, 5):
      walk = self.json('walk', f'--space=walk{levels}', '+0x5123')
      region = self.json('walk', '--space=region', '+0x5123')
      self.assertEqual(len(walk['steps']), levels)
      self.assertEqual(len(region['steps']), 1)
      # Two processes, whose machines are alike.
      self.assertEqual(int(walk['guest_physical'], 16) % 4096, 0x123)
      self.assertEqual(int(region['guest_physical'], 16) % 4096, 0x123)
      self.assertIn('machine', walk)

  def test_a_pointer_into_the_table_faults(self):
    self.assertIn('into the region\'s table', self.json('walk', '--space=region', '+8')['fault']['why'])
    self.assertEqual(self.json('walk', '--access=write', '+8')['fault']['error_code'], 7)
    self.assertNotIn('fault', self.json('walk', '+8'))

  def test_what_is_not_backed_faults(self):
    self.assertIn('not backed', self.json('walk', '--space=region', '+0x100000')['fault']['why'])
    self.assertEqual(self.json('walk', '+0x100000')['fault']['error_code'], 4)

  def test_wrong_arguments(self):
    self.refused('--levels=3: expected 4, 5', 'walk', '--image=x', '--levels=3')
    self.refused('--levels: expected --image with it', 'walk', '--levels=5')
    self.refused('--access=fly: expected read, write, execute', 'walk', '--access=fly')
    self.refused('--space=fly: expected walk4, walk5, region', 'walk', '--space=fly')
    self.refused("'0xzz' is not a pointer", 'walk', '0xzz')
    self.refused("'' is not a pointer", 'walk', '--image=/dev/null', '--cr3=0')
    for argument in ('--cr3=0x1000', '--region=0x1000', '--big-endian'):
      self.refused(f'{argument.split("=")[0]}: expected --image with it', 'walk', argument)
    self.refused('either --cr3=ADDRESS or --region=ADDRESS', 'walk', '--image=/dev/null', '0')
    self.refused('either --cr3=ADDRESS or --region=ADDRESS', 'walk', '--image=/dev/null',
                 '--cr3=0', '--region=0', '0')
    self.refused('--cr3=zz: expected a number', 'walk', '--image=/dev/null', '--cr3=zz', '0')


class RegionInAnImage(CommandTest):
  """A dump of a region of 4 granules that holds a sysctl, and what is wrong with others."""

  BASE = 0x7f00_0000_0000
  HEADER = 0x3000
  FRAMES = [HEADER, 0x7000, 0x1000, None]

  def image(self, order='<', **changes):
    image = Image(9)
    header = {'magic': 0x58435247, 'version': 1, 'shift': 12, 'flags': 0, 'base': self.BASE,
              'length': 4 << 12, 'count': 4, 'reserved': 0, **changes}
    struct.pack_into(f'{order}IHBBQQII', image.bytes, self.HEADER, *header.values())
    for i, frame in enumerate(self.FRAMES):
      struct.pack_into(f'{order}Q', image.bytes, self.HEADER + 32 + 8 * i,
                       2**64 - 1 if frame is None else frame)
    # sysctl.readconsole: its buffer of 100 characters crosses from granule 1 to 2.
    struct.pack_into(f'{order}II', image.bytes, 0x7000, 1, 0x15)
    struct.pack_into(f'{order}BBHIQI', image.bytes, 0x7008, 0, 0, 0, 0, self.BASE + 0x1fc0, 100)
    return image

  def test_is_drawn_with_the_call_in_it(self):
    for order, arguments in (('<', []), ('>', ['--big-endian'])):
      with self.subTest(order), tempfile.TemporaryDirectory() as folder:
        layout = self.json('layout', self.image(order).file(folder), f'--region={self.HEADER}',
                           '--op=sysctl.readconsole', f'--argument={self.BASE + 0x1000}', *arguments)
        self.assertEqual([(run_['first'], run_['count'], run_['kind'], run_.get('guest_physical'))
                          for run_ in layout['granules']],
                         [(0, 1, 'table', '0x3000'), (1, 1, 'payload', '0x7000'),
                          (2, 1, 'payload', '0x1000'), (3, 1, 'not backed', None)])
        self.assertEqual([(each['offset'], each['bytes']) for each in layout['structures']],
                         [(0x1000, 136), (0x1fc0, 100)])

  def test_is_walked(self):
    with tempfile.TemporaryDirectory() as folder:
      report = self.json('walk', self.image().file(folder), f'--region={self.HEADER}',
                      hex(self.BASE + 0x2010))
      self.assertEqual(report['steps'], [{'table': 'base', 'index': 2, 'address': '0x3030',
                                       'entry': '0x1000'}])
      self.assertEqual(report['guest_physical'], '0x1010')

  def test_is_refused_when_it_is_none(self):
    for changes, why in (({'magic': 0x12345678}, 'wrong magic'),
                         ({'magic': 0x47524358}, 'the other byte order'),
                         ({'version': 2}, 'unknown version'),
                         ({'count': 5}, 'malformed header'),
                         ({'base': self.BASE + 8}, 'misaligned')):
      with self.subTest(why), tempfile.TemporaryDirectory() as folder:
        image = self.image(**changes).file(folder)
        for command in ('layout', 'walk'):
          pointer = ['0'] if command == 'walk' else []
          self.refused(why, command, image, f'--region={self.HEADER}', *pointer, code=1)

  def test_more_structures_than_anybody_looks_at_are_cut(self):
    # 4200 states, each with a list of its own: they overlap, which is the caller's business.
    granules, states = 80, 4200
    image = Image(granules)
    struct.pack_into('<IHBBQQII', image.bytes, 0, 0x58435247, 1, 12, 0, self.BASE, granules << 12,
                     granules, 0)
    for i in range(granules):
      image.store(32 + 8 * i, i << 12)
    # xen_platform_op, xen_processor_cx: xen/platform.h.
    struct.pack_into('<IIIIIIQ', image.bytes, 0x1000, 54, 0x03000001, 0, 0, states, 0,
                     self.BASE + 0x2000)
    for i in range(states):
      struct.pack_into('<IQ', image.bytes, 0x2000 + 48 * i + 36, 1, self.BASE + 0x40000 + 4 * i)
    with tempfile.TemporaryDirectory() as folder:
      arguments = ['layout', image.file(folder), '--region=0', '--op=platform_op.set_processor_pminfo',
                   f'--argument={self.BASE + 0x1000}']
      layout = self.json(*arguments, f'--svg={folder}/out.svg')
      self.assertTrue(layout['cut'])
      self.assertEqual(len(layout['structures']), 4096)
      texts = [element.text for element in
               xml.etree.ElementTree.parse(f'{folder}/out.svg').getroot().iter()]
      self.assertIn('4070 and more structures are not drawn', texts)
      self.assertTrue(self.text(*arguments).endswith('\nThere are more structures.\n'))

  def test_work_is_in_proportion_to_the_image(self):
    # The longest table that there may be. All its payload is one page, 2^22 times, and a list of
    # 2^28 states in it is that page's words over and over.
    granules = 1 << 22
    table = (32 + 8 * granules + 4095) // 4096
    page, argument = table, table + 1
    bases = array.array('Q', [page << 12]) * granules
    bases[:table] = array.array('Q', range(0, table << 12, 4096))
    bases[argument] = argument << 12
    content = bytearray(struct.pack('<IHBBQQII', 0x58435247, 1, 12, 0, self.BASE, granules << 12,
                                    granules, 0) + bases.tobytes())
    content += bytes((table + 2) * 4096 - len(content))
    # xen_platform_op, xen_processor_cx: xen/platform.h.
    struct.pack_into('<IIIIIIQ', content, argument << 12, 54, 0x03000001, 0, 0, 1 << 28, 0,
                     self.BASE + (argument + 1 << 12))
    with tempfile.TemporaryDirectory() as folder:
      image = pathlib.Path(folder) / 'image'
      region = ['layout', f'--image={image}', '--region=0']
      call = ['--op=platform_op.set_processor_pminfo', f'--argument={self.BASE + (argument << 12)}']
      # States without an array each, with one each, and, without them, granules backed by turns.
      for word, calls in ((0, ([], call)), (self.BASE + (page << 12), (call,)), (None, ([],))):
        struct.pack_into('<512Q', content, page << 12, *[word or 0] * 512)
        for i in range(argument + 2, granules, 2) if word is None else ():
          struct.pack_into('<Q', content, 32 + 8 * i, 2**64 - 1)
        image.write_bytes(content)
        for arguments in ([], ['--json'], [f'--svg={folder}/out.svg']):
          for of_call in calls:
            with self.subTest(word=word, arguments=arguments, call=bool(of_call)):
              done = self.limited(*region, *arguments, *of_call)
              self.assertEqual((done.returncode, done.stderr[:200]), (0, ''))
              if not arguments and not of_call:
                self.assertIn('in more places than are told apart: 65536.', done.stdout)
              if '--json' in arguments:
                layout = json.loads(done.stdout)
                self.assertEqual(layout['granules'][-1]['kind'], 'not looked at one by one')
                self.assertEqual(sum(run_['count'] for run_ in layout['granules']), granules)
      walked = self.limited('walk', f'--image={image}', '--region=0',
                            hex(self.BASE + (argument << 12)))
      self.assertIn(f'Guest-physical {argument << 12:#x}', walked.stdout)

  def test_a_table_that_is_longer_than_the_image_is_refused(self):
    # Two pages that say that they are 2^22 bases: all of its table but the first page is the second.
    image = Image(2)
    struct.pack_into('<IHBBQQII', image.bytes, 0, 0x58435247, 1, 12, 0, self.BASE, 1 << 34, 1 << 22,
                     0)
    for address in range(32 + 8, 2 * 4096, 8):
      image.store(address, 4096)
    with tempfile.TemporaryDirectory() as folder:
      self.refused("expected a table that fits into the image's 8192 bytes", 'layout',
                   image.file(folder), '--region=0', code=1)

  # Memory of a few times the image; under a sanitizer nothing runs in so little address space. The
  # time is only so that a failure ends.
  def limited(self, *arguments):
    def limit(bytes_):
      return lambda: resource.setrlimit(resource.RLIMIT_AS, (bytes_, bytes_))

    if run('schema', preexec_fn=limit(256 << 20)).returncode != 0:
      self.skipTest('not even the op table can be printed in 256 MiB: a sanitizer')
    return run(*arguments, preexec_fn=limit(256 << 20), timeout=120)

  def test_says_where_a_call_leaves_it(self):
    image = self.image()
    struct.pack_into('<Q', image.bytes, 0x7010, self.BASE + 0x8000)
    with tempfile.TemporaryDirectory() as folder:
      layout = self.json('layout', image.file(folder), f'--region={self.HEADER}',
                         '--op=sysctl.readconsole', f'--argument={self.BASE + 0x1000}')
      self.assertEqual(len(layout['structures']), 2)
      self.refused('outside the range', 'layout', image.file(folder), f'--region={self.HEADER}',
                   '--op=sysctl.readconsole', f'--argument={self.BASE + 0x9000}', code=1)
      self.text('layout', image.file(folder), f'--region={self.HEADER}', f'--svg={folder}/out.svg',
                '--op=sysctl.readconsole', f'--argument={self.BASE + 0x1000}')


if __name__ == '__main__':
  unittest.main(argv=sys.argv[:1])
