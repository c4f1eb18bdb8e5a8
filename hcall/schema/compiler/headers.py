"""Which of Xen's public headers the op table covers: every one that declares a hypercall."""

import pathlib

# xen.h comes first, the others rely on it.
HEADERS = ["xen.h", "arch-x86/xen-mca.h", "argo.h", "callback.h", "domctl.h", "event_channel.h",
           "grant_table.h", "hvm/dm_op.h", "hvm/hvm_op.h", "hvm/params.h", "hypfs.h", "kexec.h",
           "memory.h", "nmi.h", "physdev.h", "platform.h", "pmu.h", "sched.h", "sysctl.h", "tmem.h",
           "vcpu.h", "version.h", "xenoprof.h", "xsm/flask_op.h"]
# Releases drop hypercalls, and these are none that one could drop.
REQUIRED = ["xen.h", "domctl.h", "sysctl.h", "platform.h", "memory.h"]


class HeadersError(Exception):
    """Of a folder that holds no headers of Xen."""


def source(include):
    """The text of a compilation that sees what a toolstack sees of the headers in `include`/xen."""
    folder = pathlib.Path(include, "xen")
    for name in REQUIRED:
        if not (folder / name).is_file():
            raise HeadersError(f"{folder / name} is not there: expected the folder that holds xen/")
    present = [f"xen/{name}" for name in HEADERS if (folder / name).is_file()]
    return "#define __XEN_TOOLS__ 1\n" + "".join(
        f"#include <{name}>\n" for name in ["cstddef", "cstdint", *present])
