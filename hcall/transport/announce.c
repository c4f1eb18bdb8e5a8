#include "hcall/transport/announce.h"

#include <stdlib.h>

volatile int xencomm_announces;

__attribute__((constructor)) static void ask_environment(void) {
  if (getenv(XENCOMM_TRACED_VARIABLE) != NULL) xencomm_announces = 1;
}
