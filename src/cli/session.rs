//! What several subcommands do alike: find the device, read preprocessing flags and policies,
//! open the database, stop on Ctrl-C.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Context as _;
use tch::Device;

use crate::{
    cli::{
        args::{FeedArgs, Global, MachineArgs},
        exit::{self, UsageError},
        output,
    },
    domain::{BitwidthPolicy, LayerBits},
    export::PolicyFile,
    network::TensorFile,
    quantization::{EvaluationSettings, TunedNetwork},
    runner::pinned_policy,
    search::{Model, Pins, PreprocessingRequest},
    store::BlockingStore,
};

/// Threads and device of evaluations.
///
/// # Errors
/// When the device is not known or not there.
pub fn evaluation_settings(machine: &MachineArgs) -> anyhow::Result<EvaluationSettings> {
    let mut settings =
        EvaluationSettings { device: device(&machine.device)?, ..Default::default() };
    if let Some(threads) = machine.threads {
        settings.threads = threads.into();
        crate::network::use_threads(settings.threads);
    }
    Ok(settings)
}

fn device(name: &str) -> anyhow::Result<Device> {
    let index = match name {
        "cpu" => return Ok(Device::Cpu),
        "cuda" => Some(0),
        other => other.strip_prefix("cuda:").and_then(|index| index.parse().ok()),
    };
    let Some(index) = index else {
        return Err(UsageError(format!("--device {name} is not cpu, cuda or cuda:N")).into());
    };
    crate::network::load_cuda();
    let found = tch::Cuda::device_count();
    if (index as i64) < found {
        Ok(Device::Cuda(index))
    } else {
        Err(UsageError(format!(
            "--device {name}: libtorch sees {found} CUDA devices; its CUDA libraries and a driver need to be there"
        ))
        .into())
    }
}

/// How images become input, as far as flags say.
pub fn preprocessing_request(feed: &FeedArgs) -> PreprocessingRequest {
    PreprocessingRequest {
        mean: feed.mean.clone(),
        std: feed.std.clone(),
        resize: feed.resize,
        crop: feed.crop,
    }
}

/// A path that still holds when the work is resumed from another folder.
pub fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
}

/// The policy of a file, or `bits` everywhere but where a pin says otherwise.
///
/// # Errors
/// When the file is no policy of this network, or a pin names no layer.
pub fn policy(
    model: &Model,
    file: Option<&Path>,
    bits: Option<LayerBits>,
    pins: Option<&Pins>,
) -> anyhow::Result<BitwidthPolicy> {
    if let Some(path) = file {
        return Ok(PolicyFile::load(path)?.policy_for(path, &model.layer_names())?);
    }
    let bits = bits.expect("clap asks for a policy or bits");
    let pins = pins.cloned().unwrap_or_default();
    Ok(pinned_policy(&model.layers, bits, &pins).map_err(UsageError)?)
}

/// The policy file of a network.
pub fn policy_file(model: &Model, policy: &BitwidthPolicy) -> PolicyFile {
    PolicyFile {
        model: Some(model.name.clone()),
        model_digest: Some(model.digest.clone()),
        ..PolicyFile::new(&model.layer_names(), policy)
    }
}

/// The network of a file that `haq finetune` wrote for this model.
pub fn tuned_network(path: &Path, model: &Model) -> anyhow::Result<TunedNetwork> {
    let shown = path.display().to_string();
    let bytes = std::fs::read(path).with_context(|| shown.clone())?;
    let file = TensorFile::parse(&bytes).map_err(|reason| anyhow::anyhow!("{shown}: {reason}"))?;
    let (network, digest) = TunedNetwork::of_file(&file).with_context(|| shown.clone())?;
    if digest != model.digest {
        let name = &model.name;
        anyhow::bail!("{shown}: it was trained from another model than {name} ({digest})");
    }
    Ok(network)
}

/// Opens the database for writing; it is made where it is not there.
pub fn open_store(global: &Global) -> anyhow::Result<BlockingStore> {
    Ok(BlockingStore::open(&global.db)?)
}

/// Opens the database for reading only.
pub fn read_store(global: &Global) -> anyhow::Result<BlockingStore> {
    Ok(BlockingStore::open_read_only(&global.db)?)
}

/// Turns true at the first Ctrl-C or termination signal, and says what happens then; a second
/// one ends the process.
pub fn stop_flag(global: &Global, answer: &'static str) -> anyhow::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let raised = flag.clone();
    let quiet = global.quiet;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || {
        runtime.block_on(async move {
            loop {
                if wait_for_signal().await.is_err() {
                    return;
                }
                if raised.swap(true, Ordering::SeqCst) {
                    std::process::exit(exit::INTERRUPTED.into());
                }
                if !quiet {
                    output::print_line_to_stderr(answer);
                }
            }
        });
    });
    Ok(flag)
}

/// Returns at Ctrl-C or a termination signal.
#[cfg(unix)]
pub async fn wait_for_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
pub async fn wait_for_signal() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
