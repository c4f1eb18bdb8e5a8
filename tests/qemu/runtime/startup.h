// What every program does before its main function.

#ifndef TESTS_QEMU_RUNTIME_STARTUP_H_
#define TESTS_QEMU_RUNTIME_STARTUP_H_

namespace qemu {

// Runs the constructors of static objects, once.
void RunConstructors();

}  // namespace qemu

#endif  // TESTS_QEMU_RUNTIME_STARTUP_H_
