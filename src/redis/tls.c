#include "redis/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Thread-safe: constant but for the count. */
struct nc_tls_context {
    _Atomic int holders;
    SSL_CTX *ssl;
    BIO_METHOD *socket; /* OpenSSL's own would raise SIGPIPE */
    char *server_name;  /* NULL: the host */
};

/* The lock guards the rest: a session of OpenSSL is for one thread at a time, and one of ours sends
 * while another reads. Nothing waits inside of it. */
struct nc_tls {
    pthread_mutex_t lock;
    SSL *ssl;
    const char *why;
};

/* ---- the socket below ---- */

static int outcome_of(BIO *bio, ssize_t n)
{
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_flags(bio, BIO_FLAGS_SHOULD_RETRY);
    return (int)n;
}

static int socket_write(BIO *bio, const char *bytes, int count)
{
    int fd = (int)(intptr_t)BIO_get_data(bio);
    BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY);
    BIO_set_flags(bio, BIO_FLAGS_WRITE);
    return outcome_of(bio, send(fd, bytes, (size_t)count, MSG_NOSIGNAL | MSG_DONTWAIT));
}

static int socket_read(BIO *bio, char *buffer, int room)
{
    int fd = (int)(intptr_t)BIO_get_data(bio);
    BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY);
    BIO_set_flags(bio, BIO_FLAGS_READ);
    return outcome_of(bio, recv(fd, buffer, (size_t)room, MSG_DONTWAIT));
}

static long socket_control(BIO *bio, int what, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return what == BIO_CTRL_FLUSH;
}

static BIO_METHOD *socket_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "nearcache");
    if (!method)
        return NULL;
    BIO_meth_set_write(method, socket_write);
    BIO_meth_set_read(method, socket_read);
    BIO_meth_set_ctrl(method, socket_control);
    return method;
}

/* ---- context ---- */

/* A key with a pass phrase would make OpenSSL ask on the terminal. */
static int no_pass_phrase(char *buffer, int room, int writing, void *arg)
{
    (void)buffer;
    (void)room;
    (void)writing;
    (void)arg;
    return -1;
}

/* What is wrong with the files and values, or NULL. */
static const char *configure(SSL_CTX *ssl, const struct nearcache_redis *given)
{
    const char *file = given->tls_ca_file, *folder = given->tls_ca_dir;
    SSL_CTX_set_default_passwd_cb(ssl, no_pass_phrase);
    SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_AUTO_RETRY | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    if (given->tls_min_version != 0 && given->tls_min_version != 12 && given->tls_min_version != 13)
        return "tls_min_version must be 12 or 13";
    if (!SSL_CTX_set_min_proto_version(ssl, given->tls_min_version == 13 ? TLS1_3_VERSION
                                                                         : TLS1_2_VERSION))
        return "the least version of TLS cannot be set";
    if (file && !SSL_CTX_load_verify_file(ssl, file))
        return "tls_ca_file cannot be read or has no certificate";
    if (folder && !SSL_CTX_load_verify_dir(ssl, folder))
        return "tls_ca_dir cannot be used";
    if (!file && !folder && !SSL_CTX_set_default_verify_paths(ssl))
        return "the system's certificate authorities cannot be used";
    if (!given->tls_cert_file != !given->tls_key_file)
        return "tls_cert_file and tls_key_file belong together";
    if (given->tls_cert_file && SSL_CTX_use_certificate_chain_file(ssl, given->tls_cert_file) != 1)
        return "tls_cert_file cannot be read or has no certificate";
    if (given->tls_key_file &&
        SSL_CTX_use_PrivateKey_file(ssl, given->tls_key_file, SSL_FILETYPE_PEM) != 1)
        return "tls_key_file cannot be read, has a pass phrase or is not the certificate's";
    SSL_CTX_set_verify(ssl, given->tls_insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    return NULL;
}

int nc_tls_context_create(struct nc_tls_context **out, const struct nearcache_redis *given,
                          const char **why)
{
    struct nc_tls_context *context = calloc(1, sizeof *context);
    if (!context)
        return NEARCACHE_ENOMEM;
    atomic_init(&context->holders, 1);
    context->ssl = SSL_CTX_new(TLS_client_method());
    context->socket = socket_method();
    if (given->tls_server_name)
        context->server_name = strdup(given->tls_server_name);
    int outcome = 0;
    if (!context->ssl || !context->socket || (given->tls_server_name && !context->server_name))
        outcome = NEARCACHE_ENOMEM;
    else if ((*why = configure(context->ssl, given)))
        outcome = NEARCACHE_ECONFIG;
    ERR_clear_error();
    if (outcome != 0)
        nc_tls_context_release(context);
    else
        *out = context;
    return outcome;
}

void nc_tls_context_retain(struct nc_tls_context *context)
{
    /* Relaxed: who retains has a hold already. */
    atomic_fetch_add_explicit(&context->holders, 1, memory_order_relaxed);
}

void nc_tls_context_release(struct nc_tls_context *context)
{
    /* Release ends this holder's use, acquire lets the last one free after all of them. */
    if (!context || atomic_fetch_sub_explicit(&context->holders, 1, memory_order_acq_rel) != 1)
        return;
    SSL_CTX_free(context->ssl);
    BIO_meth_free(context->socket);
    free(context->server_name);
    free(context);
}

/* ---- session ---- */

static bool is_address(const char *host)
{
    unsigned char bytes[16];
    return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

/* Who the server must be, and, for names, who it is told that we want (SNI has no addresses). */
static bool expect_host(SSL *ssl, const char *host)
{
    if (is_address(host))
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

int nc_tls_open(struct nc_tls **out, struct nc_tls_context *context, int fd, const char *host)
{
    struct nc_tls *tls = calloc(1, sizeof *tls);
    BIO *bio = tls ? BIO_new(context->socket) : NULL;
    SSL *ssl = bio ? SSL_new(context->ssl) : NULL;
    if (!ssl || !expect_host(ssl, context->server_name ? context->server_name : host)) {
        SSL_free(ssl);
        BIO_free(bio);
        free(tls);
        ERR_clear_error();
        return NEARCACHE_ENOMEM;
    }
    BIO_set_data(bio, (void *)(intptr_t)fd);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_connect_state(ssl);
    pthread_mutex_init(&tls->lock, NULL);
    tls->ssl = ssl;
    *out = tls;
    return 0;
}

void nc_tls_close(struct nc_tls *tls)
{
    if (!tls)
        return;
    SSL_free(tls->ssl);
    pthread_mutex_destroy(&tls->lock);
    free(tls);
}

static const char *reason(SSL *ssl)
{
    long verified = SSL_get_verify_result(ssl);
    if (verified != X509_V_OK && SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE)
        return X509_verify_cert_error_string(verified);
    unsigned long error = ERR_peek_error();
    const char *text = error ? ERR_reason_error_string(error) : NULL;
    return text ? text : "the connection ended in the handshake";
}

int nc_tls_handshake(struct nc_tls *tls, const char **why)
{
    ERR_clear_error();
    int outcome = SSL_do_handshake(tls->ssl);
    if (outcome == 1)
        return 0;
    switch (SSL_get_error(tls->ssl, outcome)) {
    case SSL_ERROR_WANT_READ:
        return POLLIN;
    case SSL_ERROR_WANT_WRITE:
        return POLLOUT;
    default:
        *why = reason(tls->ssl);
        ERR_clear_error();
        return NEARCACHE_EOFFLINK;
    }
}

/* With the lock. */
static ssize_t judge(struct nc_tls *tls, int n)
{
    if (n > 0)
        return n;
    int error = SSL_get_error(tls->ssl, n);
    if (error == SSL_ERROR_SSL && !tls->why)
        tls->why = ERR_reason_error_string(ERR_peek_error());
    ERR_clear_error();
    if (error == SSL_ERROR_ZERO_RETURN)
        return 0;
    errno = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? EAGAIN : ECONNRESET;
    return -1;
}

ssize_t nc_tls_send(struct nc_tls *tls, const void *bytes, size_t count)
{
    pthread_mutex_lock(&tls->lock);
    ERR_clear_error();
    ssize_t n = judge(tls, SSL_write(tls->ssl, bytes, count < INT_MAX ? (int)count : INT_MAX));
    pthread_mutex_unlock(&tls->lock);
    return n;
}

ssize_t nc_tls_recv(struct nc_tls *tls, void *buffer, size_t room)
{
    pthread_mutex_lock(&tls->lock);
    ERR_clear_error();
    ssize_t n = judge(tls, SSL_read(tls->ssl, buffer, room < INT_MAX ? (int)room : INT_MAX));
    pthread_mutex_unlock(&tls->lock);
    return n;
}

const char *nc_tls_why(struct nc_tls *tls)
{
    pthread_mutex_lock(&tls->lock);
    const char *why = tls->why;
    pthread_mutex_unlock(&tls->lock);
    return why;
}

bool nc_tls_pending(struct nc_tls *tls)
{
    pthread_mutex_lock(&tls->lock);
    bool pending = SSL_pending(tls->ssl) > 0;
    pthread_mutex_unlock(&tls->lock);
    return pending;
}
