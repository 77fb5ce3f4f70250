//! From settings to a running service, and to its end.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::body::Body;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    time::{sleep, timeout},
};
use tower::ServiceExt as _;

use crate::{
    service::{
        access::Access,
        events::{self, Hub},
        files::Files,
        fleet::Fleet,
        guard::Rates,
        metrics::Metrics,
        router::router,
        settings::Settings,
        state::{App, Peer, Stopping},
        workers::{self, Workers},
    },
    store::{BlockingStore, Store, StoreError},
};

/// How long a client may take to send the head of a request.
const HEAD_LIMIT: Duration = Duration::from_secs(10);

/// Connections at once; more wait.
const N_CONNECTIONS: usize = 2048;

/// How long the service still answers after it said that it is not ready any more.
const UNREADY: Duration = Duration::from_millis(500);

/// How long answers may take to end after that.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// Helper processes at once.
const N_HELPERS: usize = 2;

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("{address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the folders of the service: {0}")]
    Folders(io::Error),
    #[error(
        "{address} is for clients with a token (it is no loopback address, or token_required or \
         allowed_hosts is set), and there is none: make one with `haq token create NAME --scope \
         write`, or listen on 127.0.0.1"
    )]
    NoToken { address: SocketAddr },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A service that listens, and does not answer yet.
pub struct Service {
    app: Arc<App>,
    listener: TcpListener,
}

impl Service {
    /// Opens the database and the folders, and listens.
    ///
    /// - `program`: this program, which runs searches in processes of their own
    /// - `fleet`: who judges for the searches, where they do not themselves
    ///
    /// # Errors
    /// When an address can be reached from elsewhere and nobody has a token; when a folder, the
    /// database or the address cannot be had.
    pub async fn open(
        settings: Settings,
        database: PathBuf,
        program: PathBuf,
        fleet: Option<Fleet>,
    ) -> Result<Self, ServeError> {
        let store = Store::open(&database).await?;
        let address = settings.listen;
        // A name of its own means that others come through a proxy.
        let token_required = settings.token_required
            || !address.ip().is_loopback()
            || !settings.allowed_hosts.is_empty();
        if token_required && store.tokens().await?.iter().all(|token| token.revoked_at.is_some()) {
            return Err(ServeError::NoToken { address });
        }
        let files = Files::open(&settings).map_err(ServeError::Folders)?;
        let views = tokio::task::spawn_blocking(move || BlockingStore::open_read_only(&database))
            .await
            .map_err(io::Error::other)??;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| ServeError::Listen { address, source })?;
        let app = App {
            rates: Rates::new(settings.requests_per_s, settings.requests_burst),
            access: Access::new(token_required),
            files,
            store,
            views: Arc::new(views),
            hub: Hub::new(),
            workers: Workers::default(),
            metrics: Metrics::new(fleet.is_some()),
            fleet,
            program,
            helpers: Semaphore::new(N_HELPERS),
            stopping: Stopping::default(),
            settings,
        };
        Ok(Self { app: Arc::new(app), listener })
    }

    /// Where it listens: the port is known even where the system chose it.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `stop` returns; then says that it is not ready, lets answers end and searches
    /// stop where they can go on, and closes the database.
    ///
    /// # Errors
    /// When connections can no longer be taken.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
        let Self { app, listener } = self;
        let searching = tokio::spawn(workers::run(app.clone()));
        let telling = tokio::spawn(events::run(app.clone()));
        let connections = GracefulShutdown::new();
        let mut answering = Box::pin(answer(&app, &listener, &connections));
        let broken = tokio::select! {
            broken = &mut answering => Some(broken),
            () = stop => None,
        };
        app.stopping.begin();
        tracing::info!("stopping: what runs is left where it can go on");
        if broken.is_none() {
            // Who asks whether we are ready hears no before connections are refused.
            let _ = timeout(UNREADY, &mut answering).await;
        }
        drop(answering);
        drop(listener);
        let _ = timeout(LAST_ANSWERS, connections.shutdown()).await;
        let _ = searching.await;
        let _ = telling.await;
        app.store.close().await;
        // Its runtime must not end inside ours.
        let _ = tokio::task::spawn_blocking(move || drop(app)).await;
        match broken {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }
}

/// Takes connections until that fails.
async fn answer(
    app: &Arc<App>,
    listener: &TcpListener,
    connections: &GracefulShutdown,
) -> io::Error {
    let router = router(app.clone());
    let places = Arc::new(Semaphore::new(N_CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return io::Error::other("the places for connections were closed");
        };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_passing(&error) => continue,
            Err(error) => {
                // Such as too many open files: some will be closed.
                tracing::error!(%error, "a connection could not be taken");
                sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        let router = router.clone();
        let answer = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            router.clone().oneshot(request.map(Body::new))
        });
        // Small answers are sent at once.
        let _ = stream.set_nodelay(true);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_LIMIT)
            .serve_connection(TokioIo::new(stream), answer);
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%peer, %error, "a connection ended");
            }
            drop(place);
        });
    }
}

fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
