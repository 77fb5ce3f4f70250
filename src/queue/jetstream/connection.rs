//! Which server, and who asks.

use std::{
    error::Error as _,
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use async_nats::{
    Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerAddr, rustls,
};
use tokio::sync::watch;

use super::{QueueError, names::Fleet};

/// How long a server may take to answer at the start; later losses are waited out.
pub(super) const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// Longest pause between two tries to connect again.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// How to reach a queue. What is secret is not shown by `Debug`.
#[derive(Clone, Default)]
pub struct Connection {
    /// `nats://[user:password@]host[:port][/fleet]`, or `tls://` to insist on TLS; the members of a
    /// cluster with commas between them. The fleet is `haq` where none is named: queues of unlike
    /// fleets share a server and nothing else.
    pub url: String,
    /// A file with an account's JWT and key, as `nsc` writes it.
    pub credentials_file: Option<PathBuf>,
    /// A file with the seed of a user's nkey.
    pub nkey_file: Option<PathBuf>,
    pub token: Option<String>,
    /// PEM file of the certificate that signed the server's, beside those of the system.
    pub root_certificate_file: Option<PathBuf>,
    /// What the server's lists call this process.
    pub client_name: Option<String>,
    /// Servers of a cluster that keep each message, 1 to 5; what exists already stays as it is.
    /// 0 is 1.
    pub replicas: usize,
}

impl Connection {
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = Address::parse(&self.url).map(|address| address.shown);
        out.debug_struct("Connection")
            .field("url", &address.as_deref().unwrap_or("not an address"))
            .field("credentials_file", &self.credentials_file)
            .field("nkey_file", &self.nkey_file)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("root_certificate_file", &self.root_certificate_file)
            .field("client_name", &self.client_name)
            .field("replicas", &self.replicas)
            .finish()
    }
}

/// A connection that was made.
pub(super) struct Connected {
    pub client: Client,
    pub fleet: Fleet,
    /// Without secrets.
    pub address: String,
    /// Counts connections: what was asked of an earlier one is answered by nobody.
    pub connections: watch::Receiver<u64>,
}

/// A URL, taken apart.
struct Address {
    servers: Vec<ServerAddr>,
    fleet: Fleet,
    login: Option<(String, String)>,
    shown: String,
}

impl Address {
    fn parse(url: &str) -> Result<Self, QueueError> {
        let (mut servers, mut shown, mut login, mut fleet) = (Vec::new(), Vec::new(), None, None);
        for part in url.split(',').map(str::trim) {
            let refused = |reason: String| QueueError::Address {
                // What cannot be taken apart may hold a password anywhere before its last @.
                address: part.rsplit('@').next().unwrap_or_default().to_owned(),
                reason,
            };
            let parsed: ServerAddr =
                part.parse().map_err(|error: io::Error| refused(error.to_string()))?;
            if parsed.is_websocket() {
                return Err(refused("websockets are not spoken here".into()));
            }
            if parsed.host().is_empty() {
                return Err(refused("there is no host in it".into()));
            }
            let mut url = parsed.into_inner();
            if !url.username().is_empty() {
                let password = url.password().unwrap_or_default();
                login = Some((decode(url.username()), decode(password)));
            }
            let path = url.path().trim_matches('/').to_owned();
            if !path.is_empty() {
                fleet = Some(path);
            }
            url.set_path("");
            // Both only fail for addresses without a host.
            let _ = url.set_username("");
            let _ = url.set_password(None);
            shown.push(url.as_str().trim_end_matches('/').to_owned());
            servers.push(ServerAddr::from_url(url).map_err(|error| refused(error.to_string()))?);
        }
        let fleet = Fleet::new(fleet.as_deref().unwrap_or("haq"))?;
        Ok(Self { servers, fleet, login, shown: shown.join(",") })
    }
}

/// Undoes `%41`; what is no such code stays as it is.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut decoded, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        let code = bytes.get(at + 1..at + 3).and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(code) if byte == b'%' => {
                decoded.push(code);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Connects once, within [`CONNECT_PATIENCE`]; from then on losses are waited out.
pub(super) async fn connect(connection: &Connection) -> Result<Connected, QueueError> {
    let Address { servers, fleet, login, shown: address } = Address::parse(&connection.url)?;
    let (count, connections) = watch::channel(0);
    let heard = heard(count, address.clone());
    let mut options = ConnectOptions::new()
        .connection_timeout(CONNECT_PATIENCE)
        .max_reconnects(None)
        .reconnect_delay_callback(|n_tries| {
            let pause_ms = 1 << u32::try_from(n_tries).unwrap_or(u32::MAX).min(12);
            Duration::from_millis(pause_ms).min(RECONNECT_PAUSE)
        })
        .event_callback(move |event| {
            heard(event);
            async {}
        });
    if let Some(name) = &connection.client_name {
        options = options.name(name);
    }
    if let Some((user, password)) = login {
        options = options.user_and_password(user, password);
    }
    if let Some(token) = &connection.token {
        options = options.token(token.clone());
    }
    if let Some(path) = &connection.nkey_file {
        options = options.nkey(read_seed(path).await?);
    }
    if let Some(path) = &connection.credentials_file {
        options = options.credentials_file(path).await.map_err(|error| QueueError::SecretFile {
            path: path.clone(),
            reason: error.to_string(),
        })?;
    }
    if let Some(path) = &connection.root_certificate_file {
        look_for_certificate(path).await?;
        options = options.add_root_certificates(path.clone());
    }
    let connecting = tokio::time::timeout(CONNECT_PATIENCE, options.connect(servers)).await;
    let client = match connecting {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => return Err(told(connection, address, &error)),
        Err(_) => {
            let reason = "no connection".into();
            return Err(QueueError::Unreachable { address, reason });
        }
    };
    Ok(Connected { client, fleet, address, connections })
}

/// Why there is no connection, as far as the client knows.
fn told(connection: &Connection, address: String, error: &ConnectError) -> QueueError {
    let reason = error.to_string();
    match error.kind() {
        // No server has seen it yet: the key cannot sign.
        ConnectErrorKind::Authentication => {
            match connection.credentials_file.as_ref().or(connection.nkey_file.as_ref()) {
                Some(path) => {
                    let reason = "its seed is damaged; copy it anew, or make another".into();
                    QueueError::SecretFile { path: path.clone(), reason }
                }
                None => QueueError::Login { address, reason },
            }
        }
        ConnectErrorKind::AuthorizationViolation => QueueError::Login { address, reason },
        ConnectErrorKind::Tls => QueueError::Tls { address, reason },
        _ if is_of_tls(error) => QueueError::Tls { address, reason },
        _ => QueueError::Unreachable { address, reason },
    }
}

/// The client calls a certificate that it does not believe a failure of reading and writing.
fn is_of_tls(error: &ConnectError) -> bool {
    let failure = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    let inner = failure.and_then(io::Error::get_ref);
    inner.is_some_and(|inner| inner.is::<rustls::Error>())
}

/// Without a certificate in it the file would be believed, and no server.
async fn look_for_certificate(path: &Path) -> Result<(), QueueError> {
    let refused = |reason: String| QueueError::SecretFile { path: path.to_owned(), reason };
    let bytes = tokio::fs::read(path).await.map_err(|error| refused(error.to_string()))?;
    if String::from_utf8_lossy(&bytes).contains("-----BEGIN CERTIFICATE-----") {
        return Ok(());
    }
    Err(refused("it holds no certificate in PEM; name the root that signed the server's".into()))
}

async fn read_seed(path: &PathBuf) -> Result<String, QueueError> {
    let refused = |reason: String| QueueError::SecretFile { path: path.clone(), reason };
    let text = tokio::fs::read_to_string(path).await.map_err(|error| refused(error.to_string()))?;
    let mut seeds = text.split_whitespace().filter(|word| word.starts_with("SU"));
    seeds
        .next()
        .map(str::to_owned)
        .ok_or_else(|| refused("it holds no seed of a user's nkey, which begins with SU".into()))
}

/// Says in the log what happens to the connection, and counts connections.
fn heard(count: watch::Sender<u64>, server: String) -> impl Fn(Event) + Send + Sync {
    move |event| match event {
        Event::Connected => {
            count.send_modify(|n_connections| *n_connections += 1);
            if *count.borrow() > 1 {
                tracing::info!(server, "connected to the queue again");
            }
        }
        Event::Disconnected => {
            tracing::warn!(server, "the connection to the queue is lost; connecting again");
        }
        other => tracing::debug!(server, event = %other, "of the connection to the queue"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_server_fleet_and_login() {
        let parse = |url: &str| {
            let address = Address::parse(url).unwrap();
            (address.shown, address.fleet.name().to_owned(), address.login)
        };
        let login = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        for (url, shown, fleet, expected) in [
            ("nats://h:4222/lab", "nats://h:4222", "lab", None),
            ("h", "nats://h", "haq", None),
            ("tls://ann:p%40ss@h:1/lab/", "tls://h:1", "lab", login("ann", "p@ss")),
            ("nats://a:1,nats://ann@b:2/lab", "nats://a:1,nats://b:2", "lab", login("ann", "")),
            ("nats://[::1]:4222", "nats://[::1]:4222", "haq", None),
        ] {
            assert_eq!(parse(url), (shown.into(), fleet.into(), expected), "{url}");
        }
        for (url, said) in [
            ("http://h:80", "scheme"),
            ("nats://ann:secret@h:notaport", "invalid"),
            ("ws://ann:secret@h", "websockets"),
            ("nats://h/two/fleets", "fleet"),
            ("", "host"),
        ] {
            let error = Address::parse(url).err().unwrap().to_string();
            assert!(error.contains(said), "{url}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let connection = Connection {
            token: Some("secret".into()),
            ..Connection::new("nats://ann:secret@h:4222/lab")
        };
        let shown = format!("{connection:?}");
        assert!(shown.contains("nats://h:4222") && !shown.contains("secret"), "{shown}");
    }
}
