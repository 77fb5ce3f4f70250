//! The streams and consumers of a fleet, made on demand.
//!
//! | stream | keeps | until |
//! |---|---|---|
//! | `tasks` | tasks that wait, are leased or dead | answered, withdrawn or discarded |
//! | `answers` | answers | taken, at most 30 days |
//! | `failures` | what the last worker said that gave a task back, one message a task | the task is done |
//! | `advisories` | the server's word that a task was handed out too often | the task is done |
//! | `redelivered` | the newest redelivery; its number counts them | |
//! | `workers` | what each worker last said of itself | it leaves, or is silent for a minute |

use std::time::Duration;

use async_nats::jetstream::{
    ErrorCode,
    consumer::{self, AckPolicy, pull},
    context::{ConsumerInfoErrorKind, CreateStreamErrorKind},
    stream::{Config, ConsumerErrorKind, Info, RetentionPolicy, StorageType},
};

use super::server::{Server, Trouble};
use crate::queue::{ATTEMPTS_MAX, WORKER_SILENCE};

pub(super) const TASKS: &str = "tasks";
pub(super) const ANSWERS: &str = "answers";
pub(super) const FAILURES: &str = "failures";
pub(super) const ADVISORIES: &str = "advisories";
pub(super) const REDELIVERED: &str = "redelivered";
pub(super) const WORKERS: &str = "workers";

/// Second answers are noticed for so long after the first one was taken.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// An answer that nobody took for so long belongs to a search that is no more.
const ANSWER_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Consumers cannot be changed in every respect: a new version of ours has a new name.
const CONSUMER_VERSION: u32 = 1;

/// A consumer of answers that nobody asks is forgotten by the server; the answers are not.
const IDLE_CONSUMER: Duration = Duration::from_secs(24 * 3600);

/// Tasks leased at a time, and workers waiting at a time.
const LEASED_MAX: i64 = 65_536;
const WAITING_MAX: i64 = 16_384;

/// Makes the streams that are not there; those that are stay as they are.
pub(super) async fn make(server: &Server) -> Result<(), Trouble> {
    let fleet = &server.fleet;
    let stream = |what: &str, subject: String| Config {
        name: fleet.stream(what),
        subjects: vec![subject],
        storage: StorageType::File,
        num_replicas: server.replicas,
        allow_direct: true,
        ..Config::default()
    };
    let queue = |what: &str, n_words| Config {
        retention: RetentionPolicy::WorkQueue,
        duplicate_window: DUPLICATE_WINDOW,
        ..stream(what, fleet.subjects(what, n_words))
    };
    let advisories =
        format!("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{}.*", fleet.stream(TASKS));
    let newest = |what: &str, n_words| Config {
        max_messages_per_subject: 1,
        ..stream(what, fleet.subjects(what, n_words))
    };
    for config in [
        queue(TASKS, 3),
        Config { max_age: ANSWER_AGE, ..queue(ANSWERS, 2) },
        newest(FAILURES, 2),
        stream(ADVISORIES, advisories),
        newest(REDELIVERED, 0),
        Config { max_age: WORKER_SILENCE, ..newest(WORKERS, 1) },
    ] {
        make_one(server, config).await?;
    }
    Ok(())
}

async fn make_one(server: &Server, config: Config) -> Result<(), Trouble> {
    let Err(error) = server.context.create_stream(config).await else { return Ok(()) };
    Err(match error.kind() {
        CreateStreamErrorKind::JetStream(found) => match found.error_code() {
            // With other settings, which somebody may have given it on purpose.
            ErrorCode::STREAM_NAME_EXIST => return Ok(()),
            ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
                Trouble::Missing
            }
            _ => server.trouble("make a stream", &found),
        },
        CreateStreamErrorKind::JetStreamUnavailable => Trouble::Missing,
        CreateStreamErrorKind::TimedOut | CreateStreamErrorKind::Response => {
            Trouble::Lost(error.to_string())
        }
        _ => Trouble::Final(server.refused("make a stream", error)),
    })
}

/// Name of the consumer that hands out the tasks of a device class; made where it is not there.
pub(super) async fn tasks_consumer(
    server: &Server,
    device_class: &str,
    lease: Duration,
) -> Result<String, Trouble> {
    let filter = server.fleet.tasks_of_class(device_class)?;
    let make = async {
        let name = consumer_name(server, TASKS, device_class).await?;
        let config = pull::Config {
            ack_wait: lease,
            max_deliver: i64::from(ATTEMPTS_MAX),
            max_ack_pending: LEASED_MAX,
            ..explicit(&name, filter)
        };
        make_consumer(server, TASKS, config).await?;
        Ok(name)
    };
    server.consumer(&format!("{TASKS}.{device_class}"), make).await
}

/// The same for the answers for a search.
pub(super) async fn answers_consumer(
    server: &Server,
    search: &str,
    lease: Duration,
) -> Result<String, Trouble> {
    let filter = server.fleet.of_search(ANSWERS, search)?;
    let make = async {
        let name = consumer_name(server, ANSWERS, search).await?;
        let config = pull::Config {
            ack_wait: lease,
            max_ack_pending: LEASED_MAX,
            inactive_threshold: IDLE_CONSUMER,
            ..explicit(&name, filter)
        };
        make_consumer(server, ANSWERS, config).await?;
        Ok(name)
    };
    server.consumer(&format!("{ANSWERS}.{search}"), make).await
}

fn explicit(name: &str, filter_subject: String) -> pull::Config {
    pull::Config {
        durable_name: Some(name.to_owned()),
        ack_policy: AckPolicy::Explicit,
        filter_subject,
        max_waiting: WAITING_MAX,
        ..pull::Config::default()
    }
}

/// Each consumer's name has the time in it when its stream was made: a ticket of a stream that was
/// lost with its disk then means nothing to the one that was made in its place.
async fn consumer_name(server: &Server, what: &str, of: &str) -> Result<String, Trouble> {
    let made_ms = stream_info(server, what).await?.created.unix_timestamp_nanos() / 1_000_000;
    Ok(format!("v{CONSUMER_VERSION}-{of}-{made_ms:x}"))
}

async fn make_consumer(server: &Server, what: &str, config: pull::Config) -> Result<(), Trouble> {
    let made = server.context.create_consumer_on_stream(config, server.fleet.stream(what)).await;
    let Err(error) = made else { return Ok(()) };
    Err(match error.kind() {
        ConsumerErrorKind::JetStream(found) => server.trouble("make a consumer", &found),
        ConsumerErrorKind::TimedOut => Trouble::Lost(error.to_string()),
        ConsumerErrorKind::Request => Trouble::Missing,
        _ => Trouble::Final(server.refused("make a consumer", error)),
    })
}

pub(super) async fn stream_info(server: &Server, what: &str) -> Result<Info, Trouble> {
    use async_nats::jetstream::context::GetStreamErrorKind;
    let stream = server.context.get_stream(server.fleet.stream(what)).await;
    stream.map(|stream| stream.cached_info().clone()).map_err(|error| match error.kind() {
        GetStreamErrorKind::JetStream(found)
            if found.error_code() == ErrorCode::STREAM_NOT_FOUND =>
        {
            Trouble::Missing
        }
        _ => Trouble::Lost(error.to_string()),
    })
}

/// How far a consumer of a stream has come.
pub(super) async fn consumer_info(
    server: &Server,
    what: &str,
    name: &str,
) -> Result<consumer::Info, Trouble> {
    let stream = server.context.get_stream_no_info(server.fleet.stream(what)).await;
    let stream = stream.map_err(|error| Trouble::Lost(error.to_string()))?;
    stream.consumer_info(name).await.map_err(|error| match error.kind() {
        ConsumerInfoErrorKind::NotFound => Trouble::Missing,
        _ => Trouble::Lost(error.to_string()),
    })
}

/// Tasks that were handed out and not acknowledged, over all consumers.
pub(super) async fn n_handed_out(server: &Server) -> Result<u64, Trouble> {
    use futures_util::TryStreamExt;
    let stream = server
        .context
        .get_stream_no_info(server.fleet.stream(TASKS))
        .await
        .map_err(|error| Trouble::Lost(error.to_string()))?;
    let infos: Vec<consumer::Info> = stream.consumers().try_collect().await.map_err(|error| {
        let error: async_nats::Error = error.into();
        Trouble::Lost(error.to_string())
    })?;
    Ok(infos.iter().map(|info| info.num_ack_pending as u64).sum())
}
