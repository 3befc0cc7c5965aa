// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "tls_peer.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>

#include "protocol.hpp"

using namespace policy_client;

namespace {

constexpr int key_updates = 20000;

std::string frame(FrameType type, const Header& asked, const std::string& payload) {
  Header header = asked;
  header.type = type;
  header.flags = 0;
  header.length = static_cast<std::uint32_t>(payload.size());
  return std::string(reinterpret_cast<const char*>(&header), sizeof(header)) + payload;
}

/// Of three values in, two out, one robot; without names.
std::string welcome() {
  std::string payload(welcome_fixed_bytes + 6, '\0');
  payload[32] = 3;
  payload[36] = 2;
  payload[40] = 1;
  return payload;
}

}  // namespace

TlsPeer::TlsPeer(Way way) : way_(way), context_(SSL_CTX_new(TLS_server_method())) {
  if (way == Way::renegotiates) SSL_CTX_set_max_proto_version(context_.get(), TLS1_2_VERSION);
  make_certificate();
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* name = reinterpret_cast<sockaddr*>(&address);
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  REQUIRE(::bind(listener_, name, sizeof(address)) == 0);
  REQUIRE(::listen(listener_, 1) == 0);
  REQUIRE(::getsockname(listener_, name, &length) == 0);
  port_ = ::ntohs(address.sin_port);
  thread_ = std::thread([this] { serve(); });
}

TlsPeer::~TlsPeer() {
  ::shutdown(listener_, SHUT_RDWR);
  thread_.join();
  ::close(listener_);
}

void TlsPeer::make_certificate() {
  const std::unique_ptr<EVP_PKEY_CTX, Release<EVP_PKEY_CTX, EVP_PKEY_CTX_free>> maker(
      EVP_PKEY_CTX_new_id(EVP_PKEY_EC, nullptr));
  EVP_PKEY* made = nullptr;
  REQUIRE(EVP_PKEY_keygen_init(maker.get()) == 1);
  REQUIRE(EVP_PKEY_CTX_set_ec_paramgen_curve_nid(maker.get(), NID_X9_62_prime256v1) == 1);
  REQUIRE(EVP_PKEY_keygen(maker.get(), &made) == 1);
  const std::unique_ptr<EVP_PKEY, Release<EVP_PKEY, EVP_PKEY_free>> key(made);
  const std::unique_ptr<X509, Release<X509, X509_free>> certificate(X509_new());
  X509_set_version(certificate.get(), 2);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
  X509_set_pubkey(certificate.get(), key.get());
  const std::unique_ptr<X509_EXTENSION, Release<X509_EXTENSION, X509_EXTENSION_free>> name(
      X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "IP:127.0.0.1"));
  X509_add_ext(certificate.get(), name.get(), -1);
  REQUIRE(X509_sign(certificate.get(), key.get(), EVP_sha256()) > 0);
  REQUIRE(SSL_CTX_use_certificate(context_.get(), certificate.get()) == 1);
  REQUIRE(SSL_CTX_use_PrivateKey(context_.get(), key.get()) == 1);
  const std::unique_ptr<BIO, Release<BIO, BIO_free_all>> file(
      BIO_new_file(this->certificate().c_str(), "w"));
  REQUIRE(PEM_write_bio_X509(file.get(), certificate.get()) == 1);
}

void TlsPeer::serve() {
  client_ = ::accept(listener_, nullptr, nullptr);
  if (client_ < 0) return;
  session_.reset(SSL_new(context_.get()));
  SSL_set_msg_callback(session_.get(), [](int written, int, int type, const void* data,
                                          std::size_t size, SSL*, void* self) {
    const bool is_hello = written == 0 && type == SSL3_RT_HANDSHAKE && size > 0 &&
                          *static_cast<const unsigned char*>(data) == SSL3_MT_CLIENT_HELLO;
    if (is_hello) ++static_cast<TlsPeer*>(self)->handshakes_;
  });
  SSL_set_msg_callback_arg(session_.get(), this);
  SSL_set_fd(session_.get(), client_);
  bool first = true;
  if (SSL_accept(session_.get()) == 1) {
    // From here on into memory first, so that much can be sent at once.
    SSL_set0_wbio(session_.get(), BIO_new(BIO_s_mem()));
    Header asked;
    char payload[512];
    while (read(&asked, sizeof(asked)) && read(payload, static_cast<int>(asked.length))) {
      if (asked.type == FrameType::hello) {
        write(frame(FrameType::welcome, asked, welcome()));
        continue;
      }
      if (std::exchange(first, false)) misbehave();
      write(frame(FrameType::action, asked, std::string(8, '\0')));
    }
  }
  ::close(client_);
}

void TlsPeer::misbehave() {
  if (way_ == Way::renegotiates) {
    SSL_renegotiate(session_.get());
    SSL_do_handshake(session_.get());
    return flush();
  }
  for (int i = 0; i < key_updates; ++i) {
    SSL_key_update(session_.get(), SSL_KEY_UPDATE_NOT_REQUESTED);
    SSL_do_handshake(session_.get());
  }
  floods_ = true;
}

bool TlsPeer::read(void* data, int size) {
  return size == 0 || SSL_read(session_.get(), data, size) == size;
}

void TlsPeer::write(const std::string& frame) {
  SSL_write(session_.get(), frame.data(), static_cast<int>(frame.size()));
  flush();
}

void TlsPeer::flush() {
  char* data = nullptr;
  const long size = BIO_get_mem_data(SSL_get_wbio(session_.get()), &data);
  for (long sent = 0; sent < size;) {
    const auto left = static_cast<std::size_t>(size - sent);
    const ssize_t part = ::send(client_, data + sent, left, MSG_NOSIGNAL);
    if (part <= 0) break;
    sent += part;
  }
  BIO_reset(SSL_get_wbio(session_.get()));
}
