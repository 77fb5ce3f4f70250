//! The files a tuning leaves: the network with its scales, its weights as ONNX, its policy.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::{
    domain::TuningRecord,
    export::PolicyFile,
    runner::{TuningRequest, load_model, tuned_network, tuned_onnx},
    search::Model,
    store::BlockingStore,
};

/// Where everything went; absent where no epoch was judged yet.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TunedFiles {
    pub network: Option<PathBuf>,
    pub onnx: Option<PathBuf>,
    pub policy: Option<PathBuf>,
}

/// Writes the best network of a tuning into `folder/tuning-N`.
///
/// # Errors
/// When a file cannot be written, or the model is not what it was.
pub fn write(
    store: &BlockingStore,
    record: &TuningRecord,
    request: &TuningRequest,
    folder: &Path,
) -> anyhow::Result<TunedFiles> {
    let folder = folder.join(format!("tuning-{}", record.id));
    std::fs::create_dir_all(&folder)
        .map_err(|error| anyhow::anyhow!("{}: {error}", folder.display()))?;
    let description = &record.description;
    let model = load_model(request.model_source())?;
    let network = tuned_network(store, record.id)?;
    let keep = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, bytes)
            .map(|()| path.clone())
            .map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
    };
    let scales = network.to_file(&description.model_digest).to_bytes();
    let onnx = keep("tuned.onnx", &tuned_onnx(&model.graph, &network)?)?;
    // The network is fed as the one it was made from.
    if let Some(card) = Model::card_bytes(request.model.as_deref())? {
        keep("tuned.json", &card)?;
    }
    let policy = PolicyFile {
        run: description.run,
        model: Some(description.model.clone()),
        model_digest: Some(description.model_digest.clone()),
        ..PolicyFile::new(&model.layer_names(), &description.policy)
    };
    let path = folder.join("policy.json");
    policy.save(&path)?;
    let network = keep("tuned.safetensors", &scales)?;
    Ok(TunedFiles { network: Some(network), onnx: Some(onnx), policy: Some(path) })
}
