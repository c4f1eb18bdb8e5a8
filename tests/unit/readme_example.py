"""Takes the first code block of a language out of README.md, so that it is compiled as it stands.

    readme_example.py README.md LANGUAGE OUTPUT
"""

import pathlib
import re
import sys

readme, language, output = sys.argv[1:]
block = re.search(rf'^```{re.escape(language)}\n(.*?)^```$', pathlib.Path(readme).read_text(),
                  flags=re.MULTILINE | re.DOTALL)
if block is None:
  sys.exit(f'{readme} has no block of {language}')
pathlib.Path(output).write_text(block.group(1))
