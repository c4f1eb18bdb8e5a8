"""Which tests ./tests/run --changed chooses, in which order, and what it leaves when time is over."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import changed

TESTS = {  # the files of each part: objects, then scripts and data
    'handle_test': [{'handle_test.cc', 'space.h', 'handle.h'}],
    'heap_test': [{'heap_test.cc'}, {'heap.cc', 'space.h'}, {'heap_data.txt', 'meson.build'}],
    'machine_test': [{'machine_test.cc', 'space.h'}, {'heap.cc', 'space.h'}, {'p2m.cc', 'space.h'},
                     {'meson.build'}],
    'space_test': [{'space_test.cc', 'space.h'}],
    'symbols': [{'symbols.py', 'meson.build'}],
}
KILLERS = {
    'heap.cc': ['machine_test', 'heap_test'],
    'p2m.cc': ['a_test_that_is_gone'],
    'space.h': ['space_test', 'heap_test'],
}


class Ranked(unittest.TestCase):

  def test_most_telling_comes_first(self):
    for what, files, expected in [
        ('nothing', set(), []),
        ('what no test is made of', {'manual.md'}, []),
        ('a source of one test', {'handle_test.cc'}, ['handle_test']),
        ('a script', {'symbols.py'}, ['symbols']),
        ('a data file', {'heap_data.txt'}, ['heap_test']),
        ('who noticed most faults, not who is made soonest', {'heap.cc'},
         ['machine_test', 'heap_test']),
        ('what is in one part of each: the small ones first', {'meson.build'},
         ['symbols', 'heap_test', 'machine_test']),
        ('whose killers are gone', {'p2m.cc'}, ['machine_test']),
        ('a header: killers, then those for which least is compiled', {'space.h'},
         ['space_test', 'heap_test', 'handle_test', 'machine_test']),
        ('a header and one test: the test is as good as the best', {'space.h', 'handle_test.cc'},
         ['handle_test', 'space_test', 'heap_test', 'machine_test']),
        ('the better of two places counts', {'heap.cc', 'space.h'},
         ['space_test', 'machine_test', 'heap_test', 'handle_test']),
    ]:
      with self.subTest(what):
        self.assertEqual(changed.ranked(files, TESTS, KILLERS), expected)


class LeftOf(unittest.TestCase):

  def test_what_was_not_attempted_is_named(self):
    names = ['a', 'b', 'c', 'd', 'e']
    for what, at_once, seconds, refused, expected in [
        ('time for all', 2, 100, '', []),
        ('time for one attempt', 2, 10, '', ['c', 'd', 'e']),
        ('time for the first attempts', 1, 25, '', ['d', 'e']),
        ('no time', 2, 0, '', names),
        ('all at once', 8, 10, '', []),
        ('an attempt that does not come to an end', 2, 100, 'd', ['c', 'd', 'e']),
    ]:
      with self.subTest(what):
        clock = [1000]

        def attempt(some, left):
          self.assertEqual(left, 1000 + seconds - clock[0])
          clock[0] += 10
          return refused not in some

        left = changed.left_of(names, at_once, seconds, attempt, lambda: clock[0])
        self.assertEqual(left, expected)


if __name__ == '__main__':
  unittest.main()
