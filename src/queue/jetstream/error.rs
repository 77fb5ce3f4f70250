//! What can go wrong with a queue on a NATS server, in words that say what to do.

use std::path::PathBuf;

use super::connection::CONNECT_PATIENCE;

/// Every failure of a queue on a NATS server; addresses are told without their secrets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    #[error(
        "{address} is no address of a NATS server: {reason}; write nats://HOST:4222/FLEET, or tls:// \
         for a server with TLS"
    )]
    Address { address: String, reason: String },

    #[error(
        "{address} does not answer within {} s ({reason}); start a server there with \
         `nats-server -js`, or correct the address",
        CONNECT_PATIENCE.as_secs()
    )]
    Unreachable { address: String, reason: String },

    #[error(
        "{address} refuses the login ({reason}); name a credentials file, an nkey seed file, a token or a \
         user with a password that it knows"
    )]
    Login { address: String, reason: String },

    #[error(
        "{address}: no TLS connection ({reason}); name the file of the root certificate that signed \
         the server's, and write the host as the certificate does; or nats:// where the server has no TLS"
    )]
    Tls { address: String, reason: String },

    #[error("{path} cannot be used: {reason}")]
    SecretFile { path: PathBuf, reason: String },

    #[error(
        "{address} runs without JetStream; start it with `nats-server -js`, or put `jetstream {{}}` into \
         its configuration and enable it for this account"
    )]
    NoJetStream { address: String },

    #[error(
        "{name:?} cannot be the name of a {what}: 1 to {longest} letters, digits, hyphens and \
         underscores are"
    )]
    Name { what: &'static str, name: String, longest: usize },

    #[error(
        "the {what} has {size_bytes} bytes, {address} takes messages of up to {limit_bytes}; raise \
         max_payload in its configuration"
    )]
    TooLarge { address: String, what: &'static str, size_bytes: usize, limit_bytes: usize },

    #[error("{address} did not {what}: {reason}")]
    Refused { address: String, what: &'static str, reason: String },
}
