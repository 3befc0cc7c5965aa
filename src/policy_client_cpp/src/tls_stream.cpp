// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <climits>
#include <stdexcept>

#include "byte_stream.hpp"

namespace policy_client {
namespace {

template <typename T, void (*release)(T*)>
struct Release {
  void operator()(T* object) const noexcept { release(object); }
};
using Context = std::unique_ptr<SSL_CTX, Release<SSL_CTX, SSL_CTX_free>>;
using Session = std::unique_ptr<SSL, Release<SSL, SSL_free>>;
using Method = std::unique_ptr<BIO_METHOD, Release<BIO_METHOD, BIO_meth_free>>;

const char* last_error() noexcept {
  static thread_local char text[256];
  ERR_error_string_n(ERR_peek_last_error(), text, sizeof(text));
  ERR_clear_error();
  return text;
}

void require(bool done, const std::string& what) {
  if (!done) throw std::runtime_error(what + ": " + last_error());
}

bool is_address(const std::string& name) {
  unsigned char address[sizeof(in6_addr)];
  return ::inet_pton(AF_INET, name.c_str(), address) == 1 ||
         ::inet_pton(AF_INET6, name.c_str(), address) == 1;
}

Context make_context(const Options& options) {
  Context context(SSL_CTX_new(TLS_client_method()));
  require(context != nullptr, "tls");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  // A handshake is not for a tick. TLS 1.3 has none beside the first, TLS 1.2 would.
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION);
  // A write that is tried again comes from the same place, but perhaps with more behind it.
  SSL_CTX_set_mode(context.get(),
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  require(SSL_CTX_load_verify_locations(context.get(), options.tls_ca.c_str(), nullptr) == 1,
          "tls_ca: cannot read '" + options.tls_ca + "'");
  if (!options.tls_cert.empty()) {
    require(SSL_CTX_use_certificate_chain_file(context.get(), options.tls_cert.c_str()) == 1,
            "tls_cert: cannot read '" + options.tls_cert + "'");
    require(SSL_CTX_use_PrivateKey_file(context.get(), options.tls_key.c_str(),
                                        SSL_FILETYPE_PEM) == 1,
            "tls_key: cannot read '" + options.tls_key + "', or it is not of tls_cert");
  }
  return context;
}

class TlsStream : public ByteStream {
 public:
  TlsStream(const std::string& host_and_port, const Options& options)
      : socket_(SocketStream::tcp(host_and_port)),
        source_(options.source),
        server_(options.server_name.empty() ? host_of(host_and_port) : options.server_name),
        context_(make_context(options)),
        method_(make_method()) {}

  /// It holds for OpenSSL as well, which else reads on while there are records without data.
  void keep_to(Clock::time_point deadline) noexcept override { socket_->keep_to(deadline); }

  Io open(Message& message) noexcept override {
    const Io io = socket_->open(message);
    if (io != Io::done) return io;
    message_ = &message;
    if (!session_ && !begin()) return failed(message);
    ERR_clear_error();
    return judge(SSL_connect(session_.get()), message);
  }

  Io read(std::byte* data, std::size_t room, std::size_t& count,
          Message& message) noexcept override {
    message_ = &message;
    const int most = static_cast<int>(std::min<std::size_t>(room, INT_MAX));
    ERR_clear_error();
    const int got = SSL_read(session_.get(), data, most);
    if (got > 0) count = static_cast<std::size_t>(got);
    return judge(got, message);
  }

  Io write(const std::byte* data, std::size_t size, std::size_t& count,
           Message& message) noexcept override {
    message_ = &message;
    const int most = static_cast<int>(std::min<std::size_t>(size, INT_MAX));
    ERR_clear_error();
    const int sent = SSL_write(session_.get(), data, most);
    if (sent > 0) count = static_cast<std::size_t>(sent);
    return judge(sent, message);
  }

  void close() noexcept override {
    session_.reset();
    socket_->close();
  }

  pollfd wanted(bool) const noexcept override { return socket_->wanted(wants_write_); }

 private:
  /// OpenSSL's own socket BIO writes in a way that may end the process with SIGPIPE.
  static Method make_method() {
    Method method(BIO_meth_new(BIO_TYPE_SOURCE_SINK, "policy_client socket"));
    require(method != nullptr, "tls");
    BIO_meth_set_read(method.get(), [](BIO* bio, char* data, int room) {
      std::size_t count = 0;
      TlsStream& self = of(bio);
      BIO_clear_retry_flags(bio);
      const Io io = self.socket_->read(reinterpret_cast<std::byte*>(data),
                                       static_cast<std::size_t>(room), count, *self.message_);
      if (io == Io::again) BIO_set_retry_read(bio);
      return io == Io::done ? static_cast<int>(count) : -1;
    });
    BIO_meth_set_write(method.get(), [](BIO* bio, const char* data, int size) {
      std::size_t count = 0;
      TlsStream& self = of(bio);
      BIO_clear_retry_flags(bio);
      const Io io = self.socket_->write(reinterpret_cast<const std::byte*>(data),
                                        static_cast<std::size_t>(size), count, *self.message_);
      if (io == Io::again) BIO_set_retry_write(bio);
      return io == Io::done ? static_cast<int>(count) : -1;
    });
    BIO_meth_set_ctrl(method.get(), [](BIO*, int command, long, void*) -> long {
      return command == BIO_CTRL_FLUSH ? 1 : 0;
    });
    return method;
  }

  static TlsStream& of(BIO* bio) noexcept { return *static_cast<TlsStream*>(BIO_get_data(bio)); }

  bool begin() noexcept {
    session_.reset(SSL_new(context_.get()));
    BIO* bio = session_ ? BIO_new(method_.get()) : nullptr;
    if (bio == nullptr) return false;
    BIO_set_data(bio, this);
    BIO_set_init(bio, 1);
    SSL_set_bio(session_.get(), bio, bio);
    if (is_address(server_)) {
      return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session_.get()), server_.c_str()) == 1;
    }
    return SSL_set_tlsext_host_name(session_.get(), server_.c_str()) == 1 &&
           SSL_set1_host(session_.get(), server_.c_str()) == 1;
  }

  /// SSL_get_error() believes whatever error lies in the thread's queue, also one that the
  /// application left there: the queue is emptied before each call that is judged.
  Io judge(int result, Message& message) noexcept {
    wants_write_ = false;
    if (result > 0) return Io::done;
    switch (SSL_get_error(session_.get(), result)) {
      case SSL_ERROR_WANT_READ: return Io::again;
      case SSL_ERROR_WANT_WRITE: wants_write_ = true; return Io::again;
      case SSL_ERROR_SYSCALL: return Io::failed;  // The socket's message says why.
      case SSL_ERROR_ZERO_RETURN:
        message.set("%s: the service closed the connection", source_.c_str());
        return Io::failed;
      default: return failed(message);
    }
  }

  Io failed(Message& message) noexcept {
    const long verdict = session_ ? SSL_get_verify_result(session_.get()) : X509_V_OK;
    if (verdict == X509_V_OK) {
      message.set("%s: TLS: %s", source_.c_str(), last_error());
    } else {
      message.set("%s: TLS: the certificate of '%s' is not trusted: %s", source_.c_str(),
                  server_.c_str(), X509_verify_cert_error_string(verdict));
      ERR_clear_error();
    }
    return Io::failed;
  }

  std::unique_ptr<SocketStream> socket_;
  const std::string source_;
  const std::string server_;
  Context context_;
  Method method_;
  Session session_;
  Message* message_ = nullptr;  ///< Where the socket's errors go, of the call that runs.
  bool wants_write_ = false;
};

}  // namespace

std::unique_ptr<ByteStream> make_tls_stream(const std::string& host_and_port,
                                            const Options& options) {
  if (options.tls_cert.empty() != options.tls_key.empty()) {
    throw std::invalid_argument("tls_cert, tls_key: expected both or neither");
  }
  return std::make_unique<TlsStream>(host_and_port, options);
}

}  // namespace policy_client
