//! From what was typed to a queue of evaluations.

use std::{
    path::{Path, PathBuf},
    rc::Rc,
};

use tch::Device;

use tokio::runtime::{Builder, Runtime};

use crate::{
    cli::{
        args::{FleetArgs, QueueArgs},
        exit::UsageError,
    },
    network::ComputeDevice,
    queue::{BlobFolder, Connection, JetStreamQueue},
    runner::{
        Runner,
        fleet::{FleetEvaluator, FleetReport, FleetSettings},
    },
    search::PolicyEvaluator,
    store::{LocalEvalQueue, Store},
};

/// Where evaluations are handed out.
pub enum Queue {
    Local { queue: LocalEvalQueue, blobs: BlobFolder },
    JetStream(JetStreamQueue),
}

impl Queue {
    /// # Errors
    /// When nobody answers there, or the file is no database.
    pub async fn open(place: &str, args: &QueueArgs) -> anyhow::Result<Self> {
        if place.contains("://") {
            let connection = Connection {
                url: place.to_owned(),
                credentials_file: args.queue_credentials.clone(),
                nkey_file: args.queue_nkey.clone(),
                token: args.queue_token.clone(),
                root_certificate_file: args.queue_root.clone(),
                client_name: Some(format!("haq {}", std::process::id())),
                replicas: args.queue_replicas.into(),
            };
            return Ok(Self::JetStream(JetStreamQueue::connect(&connection).await?));
        }
        if !Path::new(place).exists() {
            let told = format!(
                "--queue {place}: there is no such database, and it is no nats:// address; a search makes \
                 its database, workers join it then"
            );
            return Err(UsageError(told).into());
        }
        let store = Store::open(place).await?;
        let mut folder = PathBuf::from(place).into_os_string();
        folder.push(".blobs");
        Ok(Self::Local { queue: store.evaluations(), blobs: BlobFolder::new(folder)? })
    }
}

/// Threads beside the caller's, on which a queue's connection lives on while the caller computes.
pub fn runtime() -> anyhow::Result<Runtime> {
    Ok(Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// A queue that a search is to use, before there is a search.
pub struct Reached {
    runtime: Runtime,
    queue: Queue,
    settings: FleetSettings,
}

/// The fleet that judges for a search.
pub enum Fleet {
    Local(Rc<FleetEvaluator<LocalEvalQueue, BlobFolder>>),
    JetStream(Rc<FleetEvaluator<JetStreamQueue, JetStreamQueue>>),
}

impl Reached {
    /// None where no queue was named.
    ///
    /// # Errors
    /// As [`Queue::open`].
    pub fn new(args: &FleetArgs, device: Device) -> anyhow::Result<Option<Self>> {
        let Some(place) = args.queue.place() else { return Ok(None) };
        let runtime = runtime()?;
        let queue = runtime.block_on(Queue::open(place, &args.queue))?;
        let own_class = || ComputeDevice::of(device).class;
        let settings = FleetSettings {
            device_class: args.device_class.clone().unwrap_or_else(own_class),
            time_limit_s: args.time_limit_s,
        };
        Ok(Some(Self { runtime, queue, settings }))
    }

    /// # Errors
    /// When network and images cannot be sent.
    pub fn judge_for<'a>(self, runner: Runner<'a>) -> anyhow::Result<(Runner<'a>, Fleet)> {
        let Self { runtime, queue, settings } = self;
        let fleet = match queue {
            Queue::Local { queue, blobs } => Fleet::Local(Rc::new(FleetEvaluator::new(
                runtime, queue, blobs, &runner, settings,
            )?)),
            Queue::JetStream(queue) => {
                let blobs = queue.clone();
                let fleet = FleetEvaluator::new(runtime, queue, blobs, &runner, settings)?;
                Fleet::JetStream(Rc::new(fleet))
            }
        };
        let evaluator: Rc<dyn PolicyEvaluator> = match &fleet {
            Fleet::Local(fleet) => fleet.clone(),
            Fleet::JetStream(fleet) => fleet.clone(),
        };
        Ok((runner.judged_by(evaluator), fleet))
    }
}

impl Fleet {
    pub fn report(&self) -> FleetReport {
        match self {
            Self::Local(fleet) => fleet.report(),
            Self::JetStream(fleet) => fleet.report(),
        }
    }

    /// As [`FleetEvaluator::finish`].
    pub fn finish(&self) -> anyhow::Result<()> {
        match self {
            Self::Local(fleet) => fleet.finish()?,
            Self::JetStream(fleet) => fleet.finish()?,
        }
        Ok(())
    }
}
