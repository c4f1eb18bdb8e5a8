#!/usr/bin/python3
"""Each entry of tests/mutants/equivalent.json is about text that its file still has, and says why.

The suites faults and mutants ask for more, that a mutant is made of it; but only of files that they
draw, long after the text was changed.
"""

import json
import pathlib
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]


def words(text):
    return " ".join(text.split())


class Entries(unittest.TestCase):
    def test_their_files_have_their_texts(self):
        entries = json.loads((TOP / "tests/mutants/equivalent.json").read_text())
        self.assertTrue(entries)
        for entry in entries:
            with self.subTest(**entry):
                self.assertIn(words(entry["text"]), words((TOP / entry["file"]).read_text()))
                self.assertTrue(entry["reason"].strip())


if __name__ == "__main__":
    unittest.main()
