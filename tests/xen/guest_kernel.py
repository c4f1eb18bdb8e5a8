"""A guest's kernel. Only real Xen executes it, where it runs and does nothing."""

import struct


def kernel():
  """An ELF file that libxenguest takes for a kernel, PV and PVH."""
  base, start = 0xffffffff80000000, 0x100000
  notes = b''
  def note(kind, value):
    nonlocal notes
    padded = value + bytes(-len(value) % 4)
    notes += struct.pack('<III', 4, len(value), kind) + b'Xen\0' + padded
  # public/elfnote.h
  note(1, struct.pack('<Q', base + start))           # ENTRY
  note(2, struct.pack('<Q', base + start + 0x1000))  # HYPERCALL_PAGE
  note(3, struct.pack('<Q', base))                   # VIRT_BASE
  note(5, b'xen-3.0\0')                              # XEN_VERSION
  note(6, b'none\0')                                 # GUEST_OS
  note(8, b'generic\0')                              # LOADER
  note(9, b'yes\0')                                  # PAE_MODE
  note(10, b'!writable_page_tables|pae_pgdir_above_4gb\0')  # FEATURES
  note(18, struct.pack('<I', start))                 # PHYS32_ENTRY
  # pause; jmp, in 32 bits and 64. PVH, halted with its interrupts off, would be down for good.
  code = b'\xf3\x90\xeb\xfc'.ljust(0x1000, b'\x90') + bytes(0x1000)
  header = struct.pack('<4sBBBBBxxxxxxxHHIQQQIHHHHHH', b'\x7fELF', 2, 1, 1, 0, 0, 2, 62, 1,
                       base + start, 64, 0, 0, 64, 56, 2, 64, 0, 0)
  load = struct.pack('<IIQQQQQQ', 1, 7, 0x1000, base + start, start, len(code), len(code), 0x1000)
  noted = struct.pack('<IIQQQQQQ', 4, 4, 0x200, 0, 0, len(notes), len(notes), 4)
  return (header + load + noted).ljust(0x200, b'\0') + notes.ljust(0xe00, b'\0') + code
