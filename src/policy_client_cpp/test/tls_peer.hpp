// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <openssl/ssl.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "support.hpp"

/// A service over TLS, on a thread, that answers one client with zeros and has its own way with records.
class TlsPeer {
 public:
  enum class Way {
    key_updates,     ///< Very many records without data before its first answer.
    renegotiates,    ///< Of TLS 1.2: asks for another handshake before its first answer.
  };

  explicit TlsPeer(Way way);
  ~TlsPeer();
  TlsPeer(const TlsPeer&) = delete;
  TlsPeer& operator=(const TlsPeer&) = delete;

  std::string source() const { return "tls:127.0.0.1:" + std::to_string(port_); }
  std::string certificate() const { return folder_.file("certificate.pem"); }
  int handshakes() const { return handshakes_; }
  /// Whether all records are made and on their way.
  bool floods() const { return floods_; }

 private:
  template <typename T, void (*release)(T*)>
  struct Release {
    void operator()(T* object) const { release(object); }
  };

  void make_certificate();
  void serve();
  void misbehave();
  bool read(void* data, int size);
  void write(const std::string& frame);
  void flush();

  const Way way_;
  TemporaryFolder folder_;
  std::unique_ptr<SSL_CTX, Release<SSL_CTX, SSL_CTX_free>> context_;
  std::unique_ptr<SSL, Release<SSL, SSL_free>> session_;
  int listener_ = -1;
  int client_ = -1;
  int port_ = 0;
  std::atomic<int> handshakes_{0};
  std::atomic<bool> floods_{false};
  std::thread thread_;
};
