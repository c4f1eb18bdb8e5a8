#include "tests/qemu/powerpc/user_context.h"
