//! Opening a database file: what it is, whether it may be written, and its schema.

use std::{
    ffi::CString,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use sqlx::{
    ConnectOptions, Connection, SqliteConnection,
    migrate::{Migrate, MigrateError, Migrator},
    sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous},
};

use super::{
    BUSY_TIMEOUT, Inner, RETRY, Store, StoreError, WRITE_PATIENCE,
    claims::HeldClaims,
    completed::CompletedSearches,
    error::{self, At},
    evaluations::Signals,
};
use crate::domain::JobTicket;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// `PRAGMA application_id` of our files, as the first migration sets it: "haq1".
const APPLICATION_ID: i64 = 0x6861_7131;

/// Connections that read at the same time.
const N_READERS: u32 = 4;

impl Store {
    /// Opens `path` for reading and writing; creates it where it does not exist, and
    /// upgrades an older schema after copying the file to `<path>.schema-<n>.backup`.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(path.as_ref().to_owned(), None).await
    }

    /// The same for the worker of a job: the run that it makes is the job's, and it writes only
    /// while the ticket is the job's newest.
    pub async fn open_for_job(
        path: impl AsRef<Path>,
        ticket: JobTicket,
    ) -> Result<Self, StoreError> {
        Self::open_with(path.as_ref().to_owned(), Some(ticket)).await
    }

    async fn open_with(path: PathBuf, ticket: Option<JobTicket>) -> Result<Self, StoreError> {
        check_writable(&path)?;
        let options = options(&path);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(WRITE_PATIENCE)
            // A file does not hang up.
            .test_before_acquire(false)
            // A full disk makes SQLite end a transaction by itself, which sqlx does not notice:
            // such a connection is of no more use.
            .before_acquire(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) }))
            .connect_lazy_with(options.clone().create_if_missing(true));
        let readers = SqlitePoolOptions::new()
            .max_connections(N_READERS)
            .connect_lazy_with(options.read_only(true));
        let claims = HeldClaims::default();
        let (completed, signals) = (CompletedSearches::default(), Signals::default());
        let inner =
            Inner { path, writer: Some(writer), readers, claims, completed, ticket, signals };
        let store = Self { inner: Arc::new(inner) };
        match store.prepare().await {
            Ok(()) => Ok(store),
            Err(error) => {
                store.close().await;
                Err(error)
            }
        }
    }

    /// Opens `path` for reading only; never creates, upgrades or changes it.
    pub async fn open_read_only(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let (store, found) = Self::open_any_schema(path.as_ref()).await?;
        let supported = latest_schema();
        if found < supported {
            return Err(StoreError::OlderSchema { path: store.path().into(), found, supported });
        }
        Ok(store)
    }

    /// As [`Self::open_read_only`], and older schemas too: for what copies the file as it is.
    pub async fn open_as_found(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Ok(Self::open_any_schema(path.as_ref()).await?.0)
    }

    /// For reading only, with the schema's number.
    pub(super) async fn open_any_schema(path: &Path) -> Result<(Self, i64), StoreError> {
        let path = path.to_owned();
        if !is_file(&path)? {
            return Err(StoreError::Missing { path });
        }
        let mut options = options(&path).read_only(true);
        let schema = match read_schema(&path, &options).await {
            // In a folder that cannot be written SQLite has no place for its locks; a file
            // without a pending log can still be read as one that nobody changes.
            Err(StoreError::CannotOpen { .. } | StoreError::ReadOnly { .. })
                if !has_pending_log(&path) =>
            {
                options = options.immutable(true);
                read_schema(&path, &options).await?
            }
            schema => schema?,
        };
        let readers =
            SqlitePoolOptions::new().max_connections(N_READERS).connect_lazy_with(options);
        let claims = HeldClaims::default();
        let (completed, signals) = (CompletedSearches::default(), Signals::default());
        let inner = Inner { path, writer: None, readers, claims, completed, ticket: None, signals };
        Ok((Self { inner: Arc::new(inner) }, schema))
    }

    /// Identity, write-ahead log, schema: in this order, so that a file that is not ours
    /// stays as it is.
    async fn prepare(&self) -> Result<(), StoreError> {
        let path = self.path();
        let writer = self.writer()?;
        let mut connection = writer.acquire().await.at(self.path())?;
        let schema = check_schema(path, &mut connection).await?;
        self.use_write_ahead_log(&mut connection).await?;
        if schema == latest_schema() {
            return Ok(());
        }
        if schema > 0 {
            back_up(path, &mut connection, schema).await?;
        }
        drop(connection);
        self.migrate().await
    }

    /// Switching the journal needs the file for itself, and SQLite does not wait for that.
    async fn use_write_ahead_log(
        &self,
        connection: &mut SqliteConnection,
    ) -> Result<(), StoreError> {
        let started = Instant::now();
        let mode: String = loop {
            let switched =
                sqlx::query_scalar("PRAGMA journal_mode = WAL").fetch_one(&mut *connection).await;
            match switched {
                Err(error) if error::is_busy(&error) && started.elapsed() < WRITE_PATIENCE => {
                    tokio::time::sleep(RETRY).await;
                }
                switched => break switched.at(self.path())?,
            }
        };
        if mode != "wal" {
            tracing::warn!(path = %self.path().display(), mode, "no write-ahead log here");
        }
        Ok(())
    }

    /// All missing steps in one transaction that shuts other processes out: every step
    /// happens once, or none does.
    async fn migrate(&self) -> Result<(), StoreError> {
        let named = |error| match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
                StoreError::from_sqlite(self.path(), error)
            }
            other => StoreError::from_sqlite(self.path(), other.into()),
        };
        let mut transaction = self.begin().await?;
        // Another process may have been faster.
        let schema = check_schema(self.path(), &mut transaction).await?;
        let table = &MIGRATIONS.table_name;
        transaction.ensure_migrations_table(table).await.map_err(named)?;
        for migration in MIGRATIONS.iter().filter(|migration| migration.version > schema) {
            transaction.apply(table, migration).await.map_err(named)?;
        }
        transaction.commit().await.at(self.path())
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_TIMEOUT)
        .synchronous(SqliteSynchronous::Normal)
        .foreign_keys(true)
        // An agent's state is megabytes: let the log shrink again after a peak.
        .pragma("journal_size_limit", "16777216")
        .disable_statement_logging()
}

pub(super) fn latest_schema() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

async fn read_schema(path: &Path, options: &SqliteConnectOptions) -> Result<i64, StoreError> {
    let mut connection = options.connect().await.at(path)?;
    let schema = check_schema(path, &mut connection).await;
    connection.close().await.at(path)?;
    schema
}

/// The schema's number, 0 for an empty file.
///
/// # Errors
/// A database of another program, a newer schema, or steps that are not ours.
async fn check_schema(path: &Path, connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    let (application, n_objects): (i64, i64) = sqlx::query_as(
        "SELECT application_id, (SELECT count(*) FROM sqlite_schema) FROM pragma_application_id",
    )
    .fetch_one(&mut *connection)
    .await
    .at(path)?;
    if n_objects == 0 {
        return Ok(0);
    }
    if application != APPLICATION_ID {
        return Err(StoreError::ForeignDatabase { path: path.to_owned() });
    }
    let applied: Vec<(i64, Vec<u8>)> =
        sqlx::query_as("SELECT version, checksum FROM _sqlx_migrations ORDER BY version")
            .fetch_all(connection)
            .await
            .at(path)?;
    let found = applied.last().map_or(0, |(version, _)| *version);
    if found > latest_schema() {
        let supported = latest_schema();
        return Err(StoreError::NewerSchema { path: path.to_owned(), found, supported });
    }
    for (version, checksum) in applied {
        let known = MIGRATIONS.iter().find(|migration| migration.version == version);
        if known.is_none_or(|migration| *migration.checksum != *checksum) {
            return Err(StoreError::UnknownSchema { path: path.to_owned(), version });
        }
    }
    Ok(found)
}

/// Copies the database, with what its log still holds, beside itself.
async fn back_up(
    path: &Path,
    connection: &mut SqliteConnection,
    schema: i64,
) -> Result<(), StoreError> {
    let backup = free_backup_path(path, schema)?;
    tracing::info!(path = %path.display(), backup = %backup.display(), "copying before an upgrade");
    let failed = |reason: String| StoreError::Backup {
        path: path.to_owned(),
        backup: backup.clone(),
        reason,
    };
    let Some(target) = backup.to_str() else {
        return Err(failed("its name is not UTF-8".into()));
    };
    sqlx::query("VACUUM INTO ?1")
        .bind(target.to_owned())
        .execute(connection)
        .await
        .map_err(|error| failed(error.to_string()))?;
    Ok(())
}

/// Reserves a name by creating the file empty, which SQLite accepts as a target.
fn free_backup_path(path: &Path, schema: i64) -> Result<PathBuf, StoreError> {
    for attempt in 1.. {
        let mut name = path.as_os_str().to_owned();
        match attempt {
            1 => name.push(format!(".schema-{schema}.backup")),
            _ => name.push(format!(".schema-{schema}-{attempt}.backup")),
        }
        let backup = PathBuf::from(name);
        match fs::File::create_new(&backup) {
            Ok(_) => return Ok(backup),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                let reason = error.to_string();
                return Err(StoreError::Backup { path: path.to_owned(), backup, reason });
            }
        }
    }
    unreachable!("the numbers do not end")
}

/// Whether `path` exists; what is there has to be a regular file.
fn is_file(path: &Path) -> Result<bool, StoreError> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => Ok(true),
        Ok(found) if found.is_dir() => Err(StoreError::IsFolder { path: path.to_owned() }),
        Ok(_) => Err(StoreError::NotAFile { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            let folder = folder_of(path).to_owned();
            Err(StoreError::FolderIsFile { path: path.to_owned(), folder })
        }
        Err(error) => Err(StoreError::from_io(path, path, &error)),
    }
}

/// The folder is asked too: SQLite keeps its log and locks in files beside the database.
fn check_writable(path: &Path) -> Result<(), StoreError> {
    let exists = is_file(path)?;
    let folder = folder_of(path);
    if !folder.is_dir() {
        let (path, folder) = (path.to_owned(), folder.to_owned());
        return Err(if folder.exists() {
            StoreError::FolderIsFile { path, folder }
        } else {
            StoreError::NoFolder { path, folder }
        });
    }
    if exists {
        ask_write_permission(path).map_err(|error| StoreError::from_io(path, path, &error))?;
    }
    ask_write_permission(folder).map_err(|error| StoreError::from_io(path, folder, &error))
}

pub(super) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// Asks without opening: closing a file would drop the locks this process holds on it.
fn ask_write_permission(path: &Path) -> io::Result<()> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: `name` ends in a zero byte and outlives the call, which only reads it.
    match unsafe { libc::access(name.as_ptr(), libc::W_OK) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

pub(super) fn has_pending_log(path: &Path) -> bool {
    fs::metadata(log_of(path)).is_ok_and(|log| log.len() > 0)
}

/// The write-ahead log that SQLite keeps beside a database.
pub(super) fn log_of(path: &Path) -> PathBuf {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}
