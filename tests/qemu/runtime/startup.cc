// Runs the constructors of static objects: the linker script collects them between two symbols
// (System V ABI, "Initialization and Termination Functions"). Each program's entry code calls this
// once, before its own main function. Nothing is destroyed: the programs do not return.

#include "tests/qemu/runtime/startup.h"

namespace {
using Constructor = void (*)();
}  // namespace

extern "C" {

// Supplied by image.ld.
extern const Constructor init_array_start[];
extern const Constructor init_array_end[];

// Referenced when a static object has a destructor (Itanium C++ ABI 3.3.5.3); never run.
void* __dso_handle = nullptr;
int __cxa_atexit(void (*)(void*), void*, void*) { return 0; }

}  // extern "C"

namespace qemu {

void RunConstructors() {
  for (const Constructor* constructor = init_array_start; constructor != init_array_end;
       ++constructor) {
    (*constructor)();
  }
}

}  // namespace qemu
