//! What is between client and server: a proxy, and the certificates of TLS.

use std::ffi::c_char;

use super::boundary::bytes;
use super::builder::{cometd_client_builder, set, set_choice, set_text};
use super::status::cometd_status;
use crate::client::Builder;
use crate::transport::tls::Version;

/// Sets the proxy that all requests go through, whatever the environment says.
///
/// `url` is SCHEME://USER:PASSWORD@HOST:PORT, without user and password if the proxy wants none. "" is no proxy at all. The
/// scheme says what the proxy is spoken to in:
///
/// - http (or HOST:PORT alone; without a port it is 80): the proxy is asked for a tunnel (CONNECT) to https servers and for
///   WebSockets, and hears nothing of what goes through it; other requests to http servers it reads, and passes on. User and
///   password become Basic authorization, which only the proxy sees.
/// - https (443): the same over TLS, of which cometd_client_builder_set_certificate_authorities,
///   cometd_client_builder_set_insecure and cometd_client_builder_set_minimum_tls_version hold as well. The client's own
///   certificate is not shown to proxies.
/// - socks5h (1080): SOCKS 5, which makes a tunnel to any server and looks up its name. User and password, of up to 255
///   bytes each, are given only to a proxy that asks for them, and can be read by who listens between.
/// - socks5 (1080): the same, but names are looked up here; up to eight addresses of one are tried.
///
/// Without this call the environment's variables decide as they do for curl: http_proxy for http servers, https_proxy or
/// HTTPS_PROXY for https servers, all_proxy or ALL_PROXY for both, with any of these schemes, and no_proxy or NO_PROXY with the hosts that are gone
/// to directly: names with all below them, addresses, networks such as 10.0.0.0/8, or "*". Requests to this machine go
/// through a proxy as well, unless no_proxy names it. The variables are read by cometd_client_builder_build, once for a
/// client. Other threads must not change the environment meanwhile.
///
/// A proxy that cannot be reached, whose certificate nobody trusts, that does not answer, or refuses is COMETD_E_PROXY, with
/// an error that names it and what it said, and is tried again like a server that cannot be reached. The token provider is not asked for a proxy's credentials.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: an argument is NULL, or the user holds a colon;
/// COMETD_E_INVALID_UTF8: `url`, or the user or password in it, is not UTF-8; COMETD_E_INVALID_URL: `url` names no host,
/// has another scheme, such as that of SOCKS 4, holds a path or query, or for SOCKS a longer user or password;
/// COMETD_E_INVALID_HEADER: for HTTP the user or password holds a control character.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_proxy(
    builder: *mut cometd_client_builder,
    url: *const c_char,
) -> cometd_status {
    unsafe { set_text("set_proxy", builder, "url", url, Builder::set_proxy) }
}

/// Sets the authorities that sign the certificates of https servers, such as a company's own.
///
/// `pem` is one or more certificates as PEM, of `len` bytes together; they are copied. With `with_system` the authorities
/// that the system trusts are trusted as well, as they are without this call; otherwise these are the only ones. The last
/// call counts. Host names are checked in any case.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` or `pem` is NULL, or `pem` holds no certificate, or a
/// malformed one.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_certificate_authorities(
    builder: *mut cometd_client_builder,
    pem: *const c_char,
    len: usize,
    with_system: bool,
) -> cometd_status {
    unsafe {
        set("set_certificate_authorities", builder, |it| {
            it.set_certificate_authorities(bytes("pem", pem, len)?, with_system)
        })
    }
}

/// Sets whether the certificates of https servers count for nothing: whoever answers is taken for the server, and hears
/// all that is sent to it, tokens and passwords among it. Only for tests, on networks that are trusted. Each client that
/// is built so says it in a line of the log, of COMETD_LOG_WARN.
///
/// `enabled` is false by default.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_insecure(
    builder: *mut cometd_client_builder,
    enabled: bool,
) -> cometd_status {
    unsafe {
        set("set_insecure", builder, |it| {
            it.set_insecure(enabled);
            Ok(())
        })
    }
}

/// TLS 1.0, of 1999.
pub const COMETD_TLS_1_0: i32 = 10;
/// TLS 1.1, of 2006.
pub const COMETD_TLS_1_1: i32 = 11;
/// TLS 1.2, of 2008.
pub const COMETD_TLS_1_2: i32 = 12;
/// TLS 1.3, of 2018.
pub const COMETD_TLS_1_3: i32 = 13;

/// Sets the least version of TLS that is spoken. A server that speaks only older ones is refused with COMETD_E_TLS, and an
/// error that says so.
///
/// `version` is COMETD_TLS_1_2 (the default), COMETD_TLS_1_3, COMETD_TLS_1_1 or COMETD_TLS_1_0. The two last are broken,
/// and the system's OpenSSL mostly does not speak them, whatever is set here: OpenSSL 3 does at security level 0 alone, by
/// "CipherString = DEFAULT@SECLEVEL=0" in its openssl.cnf.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL; COMETD_E_OUT_OF_RANGE: `version` is none of these.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_minimum_tls_version(
    builder: *mut cometd_client_builder,
    version: i32,
) -> cometd_status {
    let choices = [
        (COMETD_TLS_1_0, Version::Tls10),
        (COMETD_TLS_1_1, Version::Tls11),
        (COMETD_TLS_1_2, Version::Tls12),
        (COMETD_TLS_1_3, Version::Tls13),
    ];
    unsafe {
        set_choice(
            "set_minimum_tls_version",
            builder,
            "version",
            version,
            choices,
            Builder::set_minimum_tls_version,
        )
    }
}

/// Sets the certificate that is shown to https servers that ask for one, and its private key.
///
/// `pem_chain`, of `chain_len` bytes, holds the client's certificate and behind it those that lead to an authority of the
/// server's, as PEM. `pem_key`, of `key_len` bytes, is the private key as PEM, in PKCS #8 ("BEGIN PRIVATE KEY") and
/// without a password; "openssl pkcs8 -topk8 -nocrypt" makes it of others. Both are copied; the key is in no error and no
/// log line. The last call counts.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: an argument is NULL, `pem_chain` holds no certificate or a malformed
/// one, `pem_key` holds no such key, or the key does not belong to the first certificate.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_client_certificate(
    builder: *mut cometd_client_builder,
    pem_chain: *const c_char,
    chain_len: usize,
    pem_key: *const c_char,
    key_len: usize,
) -> cometd_status {
    unsafe {
        set("set_client_certificate", builder, |it| {
            it.set_client_certificate(
                bytes("pem_chain", pem_chain, chain_len)?,
                bytes("pem_key", pem_key, key_len)?,
            )
        })
    }
}
