#include "hcall/hypervisor/base/cpu_policy.h"

namespace xencomm::hypervisor {
namespace {

// Feature words by their CPUID leaves (Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E).
// 1.edx: FPU VME DE PSE TSC MSR PAE MCE CX8 APIC SEP MTRR PGE MCA CMOV PAT PSE36 CLFSH MMX FXSR SSE
// SSE2.
constexpr std::uint32_t k1d = 0x078bfbff;
// 1.ecx: SSE3 CX16 HYPERVISOR.
constexpr std::uint32_t k1c = 0x80002001;
// 0x80000001.edx: what AMD repeats of 1.edx, SYSCALL NX LM.
constexpr std::uint32_t kE1d = 0x2191abfd;
// 0x80000001.ecx: LAHF SVM.
constexpr std::uint32_t kE1c = 0x00000005;

constexpr std::uint32_t kFeatureset[kFeaturesetWords] = {k1d, k1c, kE1d, kE1c};

constexpr std::uint32_t kNone = XEN_CPUID_NO_SUBLEAF;

// "AuthenticAMD" in ebx, edx, ecx; "xencomm processor" as the name.
constexpr std::uint32_t kVendor[3] = {0x68747541, 0x444d4163, 0x69746e65};

// In the order in which Xen hands them out: basic, hypervisor, extended.
constexpr xen_cpuid_leaf_t kLeaves[] = {
    {0x0, kNone, 0xd, kVendor[0], kVendor[1], kVendor[2]},
    {0x1, kNone, 0x00000f10, 0x00000800, k1c, k1d},
    {0x2, kNone, 0, 0, 0, 0},
    {0x3, kNone, 0, 0, 0, 0},
    {0x4, 0, 0, 0, 0, 0},
    {0x5, kNone, 0, 0, 0, 0},
    {0x6, kNone, 0, 0, 0, 0},
    {0x7, 0, 0, 0, 0, 0},
    {0x8, kNone, 0, 0, 0, 0},
    {0x9, kNone, 0, 0, 0, 0},
    {0xa, kNone, 0, 0, 0, 0},
    {0xb, 0, 0, 0, 0, 0},
    {0xc, kNone, 0, 0, 0, 0},
    {0xd, 0, 0, 0, 0, 0},
    {0xd, 1, 0, 0, 0, 0},
    {0x40000000, kNone, 0, 0, 0, 0},
    {0x40000100, kNone, 0, 0, 0, 0},
    {0x80000000, kNone, 0x80000008, kVendor[0], kVendor[1], kVendor[2]},
    {0x80000001, kNone, 0x00000f10, 0, kE1c, kE1d},
    {0x80000002, kNone, 0x636e6578, 0x206d6d6f, 0x636f7270, 0x6f737365},
    {0x80000003, kNone, 0x00000072, 0, 0, 0},
    {0x80000004, kNone, 0, 0, 0, 0},
    {0x80000005, kNone, 0, 0, 0, 0},
    {0x80000006, kNone, 0, 0, 0, 0},
    {0x80000007, kNone, 0, 0, 0, 0},
    {0x80000008, kNone, 0x00003030, 0, 0, 0},
};
static_assert(sizeof(kLeaves) / sizeof(kLeaves[0]) <= kMaxCpuidLeaves);

// MSR_INTEL_PLATFORM_INFO and MSR_ARCH_CAPABILITIES.
constexpr xen_msr_entry_t kMsrs[] = {{0xce, 0, 0}, {0x10a, 0, 0}};
static_assert(sizeof(kMsrs) / sizeof(kMsrs[0]) <= kMaxMsrEntries);

}  // namespace

std::span<const std::uint32_t, kFeaturesetWords> HostFeatureset() { return kFeatureset; }
std::span<const xen_cpuid_leaf_t> HostLeaves() { return kLeaves; }
std::span<const xen_msr_entry_t> HostMsrs() { return kMsrs; }

}  // namespace xencomm::hypervisor
