#!/usr/bin/python3
"""The freestanding library asks for memcpy, memmove, memset and memcmp, and for nothing else.

Arguments: nm, and the library.
"""

import re
import subprocess
import sys

ALLOWED = {"memcpy", "memmove", "memset", "memcmp"}
# What a compiler adds by itself, and sanitizers.
ADDED = re.compile(r"__stack_chk_fail|_GLOBAL_OFFSET_TABLE_|__(a|ub|t|m)san_.*|__sanitizer_.*|__gcov_.*")


def symbols(*options):
    listed = subprocess.run([sys.argv[1], "--format=posix", *options, sys.argv[2]], check=True,
                            stdout=subprocess.PIPE, text=True).stdout
    return {line.split()[0] for line in listed.splitlines() if " " in line}


missing = {name for name in symbols("--undefined-only") - symbols("--defined-only") - ALLOWED
           if not ADDED.fullmatch(name)}
if missing:
    sys.exit("the freestanding library needs " + ", ".join(sorted(missing)))
