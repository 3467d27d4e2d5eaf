// What the tls_*.cc files share; nobody else includes it, so that OpenSSL stays here.
#pragma once

#include <openssl/ssl.h>
#include <sys/stat.h>

#include <array>
#include <memory>
#include <string>

#include "net/tls_context.h"

namespace capstan::net {

template <auto release>
struct Releases {
  template <class T>
  void operator()(T* what) const {
    release(what);
  }
};
using SslPtr = std::unique_ptr<SSL, Releases<SSL_free>>;
using SslContextPtr = std::unique_ptr<SSL_CTX, Releases<SSL_CTX_free>>;

// What tells a file from the one that was read.
struct FileMark {
  bool there = false;
  dev_t device = 0;
  ino_t inode = 0;
  off_t size = 0;
  timespec modified{}, changed{};
};
using FileMarks = std::array<FileMark, 3>;

struct TlsContext::State {
  TlsOptions options;
  SslContextPtr ssl;
  FileMarks marks;  // of the files as they were last read, fit or not

  // What a new connection uses; reads the files again if they have changed.
  SSL_CTX* fresh();
};

// The reason of the first error in OpenSSL's queue, which is emptied: "ee key too small".
std::string openssl_text();

}  // namespace capstan::net
