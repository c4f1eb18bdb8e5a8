// What the processes of one domain have of the machine's devices: the domain's event channels, what
// it maps of others and what it grants to them, and the files that they find. It is there while a
// process of the domain is, or a file that one of them opened.
#ifndef HCALL_MACHINE_DOMAIN_DEVICES_H_
#define HCALL_MACHINE_DOMAIN_DEVICES_H_

#include <memory>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "hcall/machine/event_device.h"
#include "hcall/machine/grant_files.h"
#include "hcall/machine/host_files.h"
#include "hcall/machine/share_files.h"
#include "hcall/transport/embedded/guest_kernel.h"
#include "xencomm/mutex.h"

namespace xencomm::machine {

// A client that is a process of a domain.
class DomainProcess {
 public:
  // The domain has ended, and so does the process. By any thread.
  virtual void DomainEnded() = 0;

 protected:
  ~DomainProcess() = default;
};

class DomainDevices {
 public:
  // Of the domain that `keeps` keeps, if anything does; its kernel is borrowed. Domain 0's files
  // are somebody else's.
  DomainDevices(embedded::GuestKernel& kernel, std::unique_ptr<EventFiles> event_files,
                std::shared_ptr<void> keeps, std::unique_ptr<HostFiles> files)
      : keeps_(std::move(keeps)),
        kernel_(kernel),
        files_(std::move(files)),
        events_(std::move(event_files)),
        grants_(kernel, *events_),
        shares_(kernel, *events_) {}
  DomainDevices(const DomainDevices&) = delete;
  DomainDevices& operator=(const DomainDevices&) = delete;

  embedded::GuestKernel& kernel() { return kernel_; }
  EventFiles& events() { return *events_; }
  GrantFiles& grants() { return grants_; }
  ShareFiles& shares() { return shares_; }

  // A process is borrowed until it is removed.
  void Add(DomainProcess& process) ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    processes_.insert(&process);
  }
  void Remove(DomainProcess& process) ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    processes_.erase(&process);
  }
  void EndProcesses() ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    for (DomainProcess* const process : processes_) process->DomainEnded();
  }

 private:
  const std::shared_ptr<void> keeps_;  // to the end
  embedded::GuestKernel& kernel_;
  const std::unique_ptr<HostFiles> files_;
  const std::unique_ptr<EventFiles> events_;
  GrantFiles grants_;
  ShareFiles shares_;
  Mutex mutex_;
  absl::flat_hash_set<DomainProcess*> processes_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_DOMAIN_DEVICES_H_
