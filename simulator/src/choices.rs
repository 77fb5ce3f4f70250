//! Which widths make a difference on a device, so that a search offers no others.

use crate::{
    bits::{Bits, LayerBits},
    cost::{Cost, CostKind},
    cost_model::CostModel,
    precision::nth_width,
    profile::HardwareProfile,
    workload::{Layer, LayerKind, Workload},
};

/// The widths worth choosing from, ascending; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choices {
    pub weight_bits: Vec<Bits>,
    pub activation_bits: Vec<Bits>,
}

impl HardwareProfile {
    /// The widths in 1 to 8 between which some cost differs on this device. A width that
    /// costs what a wider one costs is left out.
    pub fn choices(&self) -> Choices {
        let probes = self.probes();
        Choices {
            weight_bits: distinct(&probes, LayerBits::new),
            activation_bits: distinct(&probes, |width, other| LayerBits::new(other, width)),
        }
    }

    /// Whether the time a layer takes depends on its widths. Weights that overflow a cache
    /// on the device do not count: that depends on the network.
    pub fn latency_depends_on_bits(&self) -> bool {
        let narrow = LayerBits::new(Bits::MIN, Bits::MIN);
        self.probes().iter().any(|probe| {
            let latency_s = |bits| probe.layer(0, bits).latency_s;
            latency_s(narrow) != latency_s(LayerBits::EIGHT)
        })
    }

    /// The cost a search without a budget trades against quality: latency where fewer bits
    /// are faster, weight size elsewhere.
    pub fn default_objective(&self) -> CostKind {
        if self.latency_depends_on_bits() { CostKind::Latency } else { CostKind::Size }
    }

    /// Layers of the kinds networks are made of, one model each.
    fn probes(&self) -> Vec<CostModel> {
        probe_layers()
            .into_iter()
            .map(|layer| {
                CostModel::new(self, &Workload::of_layers(vec![layer]), self.batch())
                    .expect("the probe layers fit any batch a profile may have")
            })
            .collect()
    }
}

/// Walks down from 8 bits and keeps each width that costs something else than the last kept.
fn distinct(probes: &[CostModel], bits: impl Fn(Bits, Bits) -> LayerBits) -> Vec<Bits> {
    let costs = |width: Bits| -> Vec<Cost> {
        let others = [8, 4, 2].into_iter().filter_map(Bits::new);
        let policies: Vec<LayerBits> = others.map(|other| bits(width, other)).collect();
        probes
            .iter()
            .flat_map(|probe| policies.iter().map(|policy| probe.total(&[*policy])))
            .collect()
    };
    let mut kept = vec![(Bits::EIGHT, costs(Bits::EIGHT))];
    for width in (0..7).rev().map(nth_width) {
        let costs = costs(width);
        if kept.last().is_some_and(|(_, last)| *last != costs) {
            kept.push((width, costs));
        }
    }
    kept.into_iter().rev().map(|(width, _)| width).collect()
}

/// A large and a small convolution, a depthwise one and a linear layer.
fn probe_layers() -> Vec<Layer> {
    let dense = |in_channels, out_channels, size| Layer {
        name: "probe".to_owned(),
        kind: LayerKind::Conv,
        in_channels,
        out_channels,
        kernel_h: 3,
        kernel_w: 3,
        stride_h: 1,
        stride_w: 1,
        pad_top: 1,
        pad_left: 1,
        pad_bottom: 1,
        pad_right: 1,
        dilation_h: 1,
        dilation_w: 1,
        groups: 1,
        in_h: size,
        in_w: size,
        bias: true,
    };
    let depthwise = Layer { kind: LayerKind::Depthwise, groups: 96, ..dense(96, 96, 14) };
    let linear = Layer {
        kind: LayerKind::Linear,
        kernel_h: 1,
        kernel_w: 1,
        pad_top: 0,
        pad_left: 0,
        pad_bottom: 0,
        pad_right: 0,
        ..dense(1024, 1000, 1)
    };
    vec![dense(128, 256, 28), dense(24, 20, 8), depthwise, linear]
}
