"""Which of Xen's public headers the op table covers: every one that declares a hypercall."""

import pathlib

# No release drops these. xen.h comes first, all others rely on it.
REQUIRED = ["xen.h", "domctl.h", "sysctl.h", "platform.h", "memory.h"]
HEADERS = [*REQUIRED, "arch-x86/xen-mca.h", "argo.h", "callback.h", "event_channel.h",
           "grant_table.h", "hvm/dm_op.h", "hvm/hvm_op.h", "hvm/params.h", "hypfs.h", "kexec.h",
           "nmi.h", "physdev.h", "pmu.h", "sched.h", "tmem.h", "vcpu.h", "version.h", "xenoprof.h",
           "xsm/flask_op.h"]


def source(include):
    """The text of a compilation that sees what a toolstack sees of the headers in `include`/xen."""
    folder = pathlib.Path(include, "xen")
    present = [name for name in HEADERS if (folder / name).is_file()]
    for name in REQUIRED:
        if name not in present:
            raise SystemExit(f"{folder / name} is not there: expected the folder that holds xen/")
    return "#define __XEN_TOOLS__ 1\n#include <cstddef>\n#include <cstdint>\n" + "".join(
        f"#include <xen/{name}>\n" for name in present)
