"""Takes a code block of a language out of README.md, so that it is compiled as it stands.

    readme_example.py README.md LANGUAGE OUTPUT [NUMBER]

NUMBER: 1 is the first of that language, which is taken when nothing is said.
"""

import pathlib
import re
import sys

readme, language, output, *number = sys.argv[1:]
blocks = re.findall(rf'^```{re.escape(language)}\n(.*?)^```$', pathlib.Path(readme).read_text(),
                    flags=re.MULTILINE | re.DOTALL)
index = int(number[0]) if number else 1
if index > len(blocks):
  sys.exit(f'{readme} has {len(blocks)} blocks of {language}: expected {index}')
pathlib.Path(output).write_text(blocks[index - 1])
