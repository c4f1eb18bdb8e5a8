"""Runs a program to which, and to all that it starts, a system call is forbidden, as containers do.

    without_call.py NUMBER ERRNO PROGRAM [ARGUMENT...]
"""

import ctypes
import os
import struct
import sys

number, errno = map(int, sys.argv[1:3])
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO = 0x7fff0000, 0x00050000
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
code = b''.join(struct.pack('<HBBI', *instruction) for instruction in [
    (LOAD, 0, 0, 0), (EQUAL, 0, 1, number), (RETURN, 0, 0, SECCOMP_RET_ERRNO | errno),
    (RETURN, 0, 0, SECCOMP_RET_ALLOW)])
instructions = ctypes.create_string_buffer(code)
filter_ = struct.pack('<HxxxxxxQ', len(code) // 8, ctypes.addressof(instructions))
prctl = ctypes.CDLL(None, use_errno=True).prctl
if prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 or prctl(
    PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.create_string_buffer(filter_), 0, 0) != 0:
  sys.exit(f'the call cannot be forbidden: {os.strerror(ctypes.get_errno())}')
os.execvp(sys.argv[3], sys.argv[3:])
