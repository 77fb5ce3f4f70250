//! What is costed: the layers of a network, or of a table.

use std::path::{Path, PathBuf};

use clap::Args;
use haq_simulator::{LayerList, Workload};

use crate::{
    cli::exit::UsageError,
    domain::{BitwidthPolicy, LayerBits},
    export::PolicyFile,
    quantization::QuantizationError,
    runner::{self, ModelSource, load_model},
    search::{Model, Pins, with_shared_tensors, workload_of},
};

/// Where the layers come from.
#[derive(Debug, Clone, Args)]
pub struct WorkloadArgs {
    /// ONNX file; the embedded digits network where neither this nor --layers is given
    #[arg(long, value_name = "FILE", conflicts_with = "layers")]
    pub model: Option<PathBuf>,
    /// Shape of one input batch, where the file leaves it open: N,C,H,W
    #[arg(long, value_name = "N,C,H,W", value_delimiter = ',')]
    pub input_shape: Option<Vec<usize>>,
    /// Layers as CSV: our own columns, or SCALE-Sim's topology
    #[arg(long, value_name = "FILE")]
    pub layers: Option<PathBuf>,
}

/// Layers with what is known of the network they are from.
pub struct Subject {
    /// File name, or `embedded`.
    pub name: String,
    pub workload: Workload,
    /// Bits that the table itself gives.
    own_bits: Vec<Option<LayerBits>>,
    model: Option<Model>,
}

impl Subject {
    pub fn load(args: &WorkloadArgs) -> anyhow::Result<Self> {
        match &args.layers {
            Some(path) => Self::of_table(path),
            None => Self::of_model(args),
        }
    }

    fn of_table(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display().to_string();
        let text = read(path)?;
        let list = LayerList::parse(&text, &shown)?;
        let name = path.file_name().map_or(shown, |name| name.to_string_lossy().into_owned());
        Ok(Self { name, workload: list.workload, own_bits: list.bits, model: None })
    }

    fn of_model(args: &WorkloadArgs) -> anyhow::Result<Self> {
        let source = ModelSource {
            model: args.model.as_deref(),
            input_shape: args.input_shape.as_deref(),
            ..ModelSource::default()
        };
        let model = load_model(source)?;
        let preprocessing = runner::preprocessing(&model, &Default::default()).ok();
        let shape =
            runner::one_image_shape(&model, args.input_shape.as_deref(), preprocessing.as_ref())?;
        let shapes = model.graph.shapes(&shape).map_err(QuantizationError::from)?;
        let workload = workload_of(&model.graph, &model.layers, &shapes)?;
        Ok(Self { name: model.name.clone(), workload, own_bits: Vec::new(), model: Some(model) })
    }

    pub fn layer_names(&self) -> Vec<&str> {
        self.workload.layers.iter().map(|layer| layer.name.as_str()).collect()
    }

    /// The bits a policy file gives these layers.
    pub fn policy_of_file(&self, path: &Path) -> anyhow::Result<BitwidthPolicy> {
        Ok(PolicyFile::load(path)?.policy_for(path, &self.layer_names())?)
    }

    /// `bits` everywhere but where a pin says otherwise.
    pub fn uniform_policy(
        &self,
        bits: LayerBits,
        pins: Option<&Pins>,
    ) -> anyhow::Result<BitwidthPolicy> {
        let pins = pins.cloned().unwrap_or_default();
        let pinned = pins.resolve(&self.layer_names()).map_err(UsageError)?;
        let policy = pinned.into_iter().map(|pin| pin.unwrap_or(bits)).collect();
        Ok(self.sharing_tensors(BitwidthPolicy::new(policy)))
    }

    /// The bits in the table of layers itself.
    pub fn own_policy(&self) -> anyhow::Result<BitwidthPolicy> {
        let own: Option<Vec<LayerBits>> = self.own_bits.iter().copied().collect();
        match own.filter(|own| !own.is_empty() && own.len() == self.workload.layers.len()) {
            Some(own) => Ok(BitwidthPolicy::new(own)),
            None => Err(UsageError("say how many bits: --bits W,A or --policy FILE".into()).into()),
        }
    }

    fn sharing_tensors(&self, policy: BitwidthPolicy) -> BitwidthPolicy {
        match &self.model {
            Some(model) => with_shared_tensors(&model.layers, policy),
            None => policy,
        }
    }
}

/// The text of a file; an error names it.
pub fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
}
