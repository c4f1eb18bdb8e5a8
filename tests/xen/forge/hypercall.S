/* SPDX-License-Identifier: GPL-2.0 OR MIT */
#include "../../../hcall/linux/hypercall.S"
