// Which release of Xen a program is for: that whose headers it is built with.
#ifndef TESTS_XEN_MINOR_H_
#define TESTS_XEN_MINOR_H_

#include <xenctrl.h>

// Debian 12 has 4.17 and Debian 13 has 4.20, which interface versions tell from each other.
enum { kMinor = XEN_DOMCTL_INTERFACE_VERSION == 0x15 ? 17 : 20 };

#endif  // TESTS_XEN_MINOR_H_
