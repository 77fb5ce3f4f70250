//! Who is let into a fleet, and what those are told who are not.

use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

use crate::{certificates::Certificates, folder::Folder, nats_common::NatsServer};

/// `haq fleet` is let in with these arguments.
fn is_let_in(folder: &Folder, queue: &str, arguments: &[&str]) {
    let (state, _) = folder.json(&[&["fleet", "--queue", queue], arguments].concat());
    assert_eq!(state["tasks"]["waiting"], 0, "{state}");
}

/// It is not, and hears all of this.
fn is_refused(folder: &Folder, queue: &str, arguments: &[&str], words: &[&str]) {
    let arguments = [&["fleet", "--queue", queue], arguments].concat();
    let output = folder.haq(&arguments).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
    let last = said.lines().last().unwrap_or_default();
    for word in words {
        assert!(last.contains(word), "{arguments:?}: {word:?} is not in {said}");
    }
    assert!(!said.contains("panicked") && !said.contains("hush"), "{arguments:?}: {said}");
}

fn written(folder: &Folder, name: &str, text: &str) -> String {
    let file = folder.path().join(name);
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

#[test]
fn a_server_with_tls_is_believed_by_the_root_that_signed_it_alone() {
    let folder = Folder::new();
    let Some(certificates) = Certificates::new(folder.path()) else { return };
    let Certificates { root, other_root, certificate, key } = &certificates;
    let options = ["-js", "--tls", "--tlscert", certificate, "--tlskey", key];
    let Some(server) = NatsServer::start_with(&options) else { return };
    let port = server.port();
    let at = |scheme: &str, host: &str| format!("{scheme}://{host}:{port}/lab");
    for scheme in ["tls", "nats"] {
        is_let_in(&folder, &at(scheme, "localhost"), &["--queue-root", root]);
    }
    let with = |root: &str| ["--queue-root", root].map(str::to_owned);
    let no_roots = written(&folder, "empty.pem", "");
    for (host, arguments, words) in [
        ("localhost", with(other_root), ["no TLS connection", "name the file of the root"]),
        ("localhost", with(&no_roots), ["empty.pem", "holds no certificate"]),
        ("localhost", with("nowhere.pem"), ["nowhere.pem", "cannot be used"]),
        ("127.0.0.1", with(root), ["no TLS connection", "write the host as the certificate does"]),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        is_refused(&folder, &at("tls", host), &arguments, &words);
    }
    let words = ["no TLS connection", "name the file of the root"];
    is_refused(&folder, &at("nats", "localhost"), &[], &words);
}

#[test]
fn a_server_without_tls_is_not_spoken_to_where_tls_was_asked_for() {
    let Some(server) = NatsServer::start() else { return };
    let folder = Folder::new();
    let queue = format!("tls://127.0.0.1:{}/lab", server.port());
    is_refused(&folder, &queue, &[], &["no TLS connection"]);
}

#[test]
fn a_token_opens_and_no_other_does() {
    let Some(server) = NatsServer::start_with(&["-js", "--auth", "open-sesame"]) else { return };
    let folder = Folder::new();
    let queue = server.fleet("lab");
    is_let_in(&folder, &queue, &["--queue-token", "open-sesame"]);
    let words = ["refuses the login", "a token"];
    is_refused(&folder, &queue, &["--queue-token", "hush-hush"], &words);
    is_refused(&folder, &queue, &[], &words);
}

#[test]
fn a_user_with_an_nkey_is_known_by_it() {
    let folder = Folder::new();
    let (user, stranger) = (KeyPair::new_user(), KeyPair::new_user());
    let public = user.public_key();
    let text = format!("authorization: {{ users: [ {{ nkey: {public} }} ] }}\n");
    let configuration = written(&folder, "server.conf", &text);
    let Some(server) = NatsServer::start_with(&["-js", "-c", &configuration]) else { return };
    let queue = server.fleet("lab");
    let file = |name: &str, text: &str| written(&folder, name, text);
    let of = |name: &str, pair: &KeyPair| file(name, &format!("{}\n", pair.seed().unwrap()));
    is_let_in(&folder, &queue, &["--queue-nkey", &of("user.nk", &user)]);
    let mut damaged = user.seed().unwrap();
    let last = damaged.pop().unwrap();
    damaged.push(if last == 'A' { 'B' } else { 'A' });
    for (seed, words) in [
        (of("stranger.nk", &stranger), ["refuses the login", "nkey"]),
        (of("account.nk", &KeyPair::new_account()), ["account.nk", "no seed of a user's nkey"]),
        (file("damaged.nk", &damaged), ["damaged.nk", "cannot be used"]),
        ("nowhere.nk".into(), ["nowhere.nk", "cannot be used"]),
    ] {
        is_refused(&folder, &queue, &["--queue-nkey", &seed], &words);
    }
    is_refused(&folder, &queue, &[], &["refuses the login"]);
}

/// A token as an operator or an account signs it.
fn signed(claims: Value, issuer: &KeyPair) -> String {
    let header = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let text = format!("{}.{}", part(&header), part(&claims));
    let signature = BASE64URL_NOPAD.encode(&issuer.sign(text.as_bytes()).unwrap());
    format!("{text}.{signature}")
}

fn claims(name: &str, subject: &KeyPair, issuer: &KeyPair, nats: Value) -> Value {
    let (sub, iss) = (subject.public_key(), issuer.public_key());
    json!({ "jti": name, "iat": 1_700_000_000, "iss": iss, "name": name, "sub": sub, "nats": nats })
}

/// An operator with an account that may use JetStream.
struct Operator {
    operator: KeyPair,
    account: KeyPair,
    system: KeyPair,
}

impl Operator {
    fn new() -> Self {
        let (operator, account) = (KeyPair::new_operator(), KeyPair::new_account());
        Self { operator, account, system: KeyPair::new_account() }
    }

    /// - `bytes_max`: what it may keep in JetStream, -1 where there is no limit
    fn account_token(&self, name: &str, account: &KeyPair, bytes_max: i64) -> String {
        let limits = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
            "conn": -1, "leaf": -1, "mem_storage": bytes_max, "disk_storage": bytes_max, "streams": -1,
            "consumer": -1,
        });
        let nats = json!({ "type": "account", "version": 2, "limits": limits });
        signed(claims(name, account, &self.operator, nats), &self.operator)
    }

    /// A server's configuration that believes this operator.
    fn configuration(&self) -> String {
        let nats = json!({ "type": "operator", "version": 2 });
        let operator = signed(claims("op", &self.operator, &self.operator, nats), &self.operator);
        // A server's own account may not use JetStream.
        let preloaded = [("lab", &self.account, -1), ("system", &self.system, 0)];
        let preloaded = preloaded.map(|(name, account, bytes_max)| {
            let token = self.account_token(name, account, bytes_max);
            format!("  {}: {token}\n", account.public_key())
        });
        let preloaded = preloaded.concat();
        format!(
            "operator: {operator}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{\n{preloaded}}}\n",
            self.system.public_key()
        )
    }

    /// What `nsc generate creds` writes for a user of the account.
    fn credentials(&self, expires_unix_s: Option<i64>) -> String {
        let user = KeyPair::new_user();
        let nats = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
        let mut claims = claims("ann", &user, &self.account, nats);
        if let Some(expires) = expires_unix_s {
            claims["exp"] = expires.into();
        }
        format!(
            "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            signed(claims, &self.account),
            user.seed().unwrap()
        )
    }
}

#[test]
fn credentials_of_the_operators_account_open_and_no_others_do() {
    let folder = Folder::new();
    let operator = Operator::new();
    let configuration = written(&folder, "server.conf", &operator.configuration());
    let Some(server) = NatsServer::start_with(&["-js", "-c", &configuration]) else { return };
    let queue = server.fleet("lab");
    let file = |name: &str, text: &str| written(&folder, name, text);
    let right = file("right.creds", &operator.credentials(None));
    is_let_in(&folder, &queue, &["--queue-credentials", &right]);
    for (credentials, words) in [
        (
            file("other.creds", &Operator::new().credentials(None)),
            ["refuses the login", "credentials"],
        ),
        (
            file("old.creds", &operator.credentials(Some(1_700_000_001))),
            ["refuses the login", "credentials"],
        ),
        (file("none.creds", "hush"), ["none.creds", "cannot be used"]),
        ("nowhere.creds".into(), ["nowhere.creds", "cannot be used"]),
    ] {
        is_refused(&folder, &queue, &["--queue-credentials", &credentials], &words);
    }
    is_refused(&folder, &queue, &[], &["refuses the login"]);
}
