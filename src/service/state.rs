//! What all handlers share.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::{Notify, Semaphore};

use crate::{
    service::{
        access::Access, events::Hub, files::Files, fleet::Fleet, guard::Rates, metrics::Metrics,
        problem::Problem, settings::Settings, workers::Workers,
    },
    store::{BlockingStore, Store},
};

/// The address a request came from.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// One running service.
#[derive(Debug)]
pub struct App {
    pub settings: Settings,
    pub store: Store,
    /// The same database for code that reads much and waits, off the asynchronous threads.
    pub views: Arc<BlockingStore>,
    pub files: Files,
    pub access: Access,
    pub rates: Rates,
    pub hub: Hub,
    pub workers: Workers,
    /// Who judges for the searches, where it is not they themselves.
    pub fleet: Option<Fleet>,
    pub metrics: Metrics,
    /// This program, which is started anew for every search, check and export.
    pub program: PathBuf,
    /// Programs for checks and exports at once.
    pub helpers: Semaphore,
    pub stopping: Stopping,
}

/// Whether the service is about to end, and a word for those who wait for it.
#[derive(Debug, Default)]
pub struct Stopping {
    begun: AtomicBool,
    told: Notify,
}

impl Stopping {
    pub fn begin(&self) {
        self.begun.store(true, Ordering::SeqCst);
        self.told.notify_waiters();
    }

    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::SeqCst)
    }

    /// Returns once it has begun.
    pub async fn wait(&self) {
        let told = self.told.notified();
        tokio::pin!(told);
        // Listening before looking: a word between the two is not missed.
        told.as_mut().enable();
        if !self.has_begun() {
            told.await;
        }
    }
}

impl App {
    /// Runs what reads much or computes, where waiting holds nobody up.
    ///
    /// # Errors
    /// The work's own, and a panic of it.
    pub async fn blocking<T, E>(
        self: &Arc<Self>,
        work: impl FnOnce(&App) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Problem>
    where
        T: Send + 'static,
        E: Into<Problem> + Send + 'static,
    {
        let app = self.clone();
        let joined = tokio::task::spawn_blocking(move || work(&app)).await;
        joined.map_err(Problem::internal)?.map_err(Into::into)
    }

    /// Whether a `Host` header names this service: an address of this machine, the one it listens
    /// on, or one of `allowed_hosts`.
    pub fn serves_host(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        let listens_on = self.settings.listen.ip();
        if name.eq_ignore_ascii_case("localhost")
            || self.settings.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
        {
            return true;
        }
        // An address cannot be led elsewhere by anybody's name server.
        name.parse::<IpAddr>().is_ok_and(|address| {
            address.is_loopback() || address == listens_on || listens_on.is_unspecified()
        })
    }
}
