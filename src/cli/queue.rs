//! From what was typed to a queue of evaluations.

use std::{
    path::{Path, PathBuf},
    rc::Rc,
    sync::{Arc, atomic::AtomicBool},
};

use tch::Device;

use tokio::runtime::{Builder, Runtime};

use crate::{
    cli::{
        args::{FleetArgs, QueueArgs},
        blobs::Blobs,
        exit::UsageError,
    },
    network::ComputeDevice,
    queue::{Connection, JetStreamQueue},
    runner::{
        Runner,
        fleet::{FleetEvaluator, FleetReport, FleetSettings},
    },
    search::PolicyEvaluator,
    store::{LocalEvalQueue, Store},
};

/// Where evaluations are handed out.
pub enum Queue {
    Local { queue: LocalEvalQueue, file: PathBuf },
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
        Ok(Self::Local { queue: store.evaluations(), file: place.into() })
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
    blobs: Blobs,
    settings: FleetSettings,
}

/// The fleet that judges for a search.
pub enum Fleet {
    Local(Rc<FleetEvaluator<LocalEvalQueue, Blobs>>),
    JetStream(Rc<FleetEvaluator<JetStreamQueue, Blobs>>),
}

impl Reached {
    /// None where no queue was named.
    ///
    /// # Errors
    /// As [`Queue::open`] and [`Blobs::open`].
    pub fn new(args: &FleetArgs, device: Device) -> anyhow::Result<Option<Self>> {
        let Some(place) = args.queue.place() else { return Ok(None) };
        let runtime = runtime()?;
        let (queue, blobs) = runtime.block_on(async {
            let queue = Queue::open(place, &args.queue).await?;
            let blobs = Blobs::open(&args.queue, &queue).await?;
            anyhow::Ok((queue, blobs))
        })?;
        let own_class = || ComputeDevice::of(device).class;
        let settings = FleetSettings {
            device_class: args.device_class.clone().unwrap_or_else(own_class),
            time_limit_s: args.time_limit_s,
        };
        Ok(Some(Self { runtime, queue, blobs, settings }))
    }

    /// - `stop`: turns true when the search is to stop
    ///
    /// # Errors
    /// When network and images cannot be sent.
    pub fn judge_for<'a>(
        self,
        runner: Runner<'a>,
        stop: &Arc<AtomicBool>,
    ) -> anyhow::Result<(Runner<'a>, Fleet)> {
        let stop = stop.clone();
        let Self { runtime, queue, blobs, settings } = self;
        let fleet = match queue {
            Queue::Local { queue, .. } => Fleet::Local(Rc::new(FleetEvaluator::new(
                runtime, queue, blobs, &runner, settings, stop,
            )?)),
            Queue::JetStream(queue) => Fleet::JetStream(Rc::new(FleetEvaluator::new(
                runtime, queue, blobs, &runner, settings, stop,
            )?)),
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
