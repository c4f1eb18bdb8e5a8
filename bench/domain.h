// A domain that never runs, made through libxenctrl: pages at its first frames, and one vcpu.
#ifndef BENCH_DOMAIN_H_
#define BENCH_DOMAIN_H_

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <vector>

extern "C" {
#include <xenctrl.h>
}

namespace xencomm::bench {

// Ends the program unless it holds.
inline void Check(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "bench: %s\n", what);
  std::exit(1);
}

class Domain {
 public:
  enum class Kind : std::uint8_t { kPv, kPvh };

  // It may have one page more.
  Domain(xc_interface* xch, Kind kind, unsigned pages) : xch_(xch), frames_(pages) {
    xen_domctl_createdomain config = {};
    config.max_vcpus = 1;
    config.max_evtchn_port = 1023;
    config.max_grant_frames = 32;
    config.max_maptrack_frames = 1024;
    config.grant_opts = XEN_DOMCTL_GRANT_version(1);
    if (kind == Kind::kPvh) {
      config.flags = XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap;
      config.arch.emulation_flags = XEN_X86_EMU_LAPIC;
    }
    Check(xc_domain_create(xch, &id_, &config) == 0 && xc_domain_max_vcpus(xch, id_, 1) == 0 &&
              xc_domain_setmaxmem(xch, id_, (std::uint64_t{pages} + 1) * 4) == 0,
          "a domain cannot be created");
    unsigned megabytes = 1 + (pages >> 16);  // for a PVH domain's p2m
    Check(kind == Kind::kPv ||
              xc_shadow_control(xch, id_, XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION, &megabytes, 0) == 0,
          "a domain gets no memory for its p2m");
    std::iota(frames_.begin(), frames_.end(), xen_pfn_t{0});
    Check(xc_domain_populate_physmap(xch, id_, pages, 0, 0, frames_.data()) >= 0,
          "the domain gets no memory");
  }
  Domain(const Domain&) = delete;
  Domain& operator=(const Domain&) = delete;
  ~Domain() { xc_domain_destroy(xch_, id_); }

  std::uint32_t id() const { return id_; }
  // gfns, of a PV domain mfns.
  const std::vector<xen_pfn_t>& frames() const { return frames_; }

 private:
  xc_interface* const xch_;
  std::uint32_t id_ = 0;
  std::vector<xen_pfn_t> frames_;
};

}  // namespace xencomm::bench

#endif  // BENCH_DOMAIN_H_
