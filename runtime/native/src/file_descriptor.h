// A file descriptor that is closed with its owner.
#pragma once

#include <unistd.h>

#include <utility>

namespace arcmobile {

class FileDescriptor {
 public:
  explicit FileDescriptor(int number = -1) : number_(number) {}
  ~FileDescriptor() { reset(); }
  FileDescriptor(FileDescriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }

  explicit operator bool() const { return number_ >= 0; }
  int get() const { return number_; }

  // Closes it now; false where that shows that something was not written.
  bool reset() {
    return number_ < 0 || close(std::exchange(number_, -1)) == 0;
  }

 private:
  int number_;
};

}  // namespace arcmobile
