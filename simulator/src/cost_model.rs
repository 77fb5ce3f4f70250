//! Costs of a network on a device: every layer at every width worked out once, policies summed
//! from a table.

use std::{collections::BTreeMap, sync::OnceLock};

use crate::{
    bits::{Bits, LayerBits},
    cost::{Cost, CostKind, LayerCost, NetworkCost},
    device::{Device, Prepared},
    footprint::Footprint,
    precision::{nth_width, width_index},
    profile::{HardwareProfile, HostLink, MeasuredCost, StreamPolicy},
    roofline::Roofline,
    shape::{CostError, Shape},
    traffic::Traffic,
    workload::Workload,
};

/// Widths the table has entries for: 1 to 8 bits. Wider ones are worked out when asked for.
const TABLE_WIDTHS: usize = 8;
const ENTRIES: usize = TABLE_WIDTHS * TABLE_WIDTHS * TABLE_WIDTHS;

/// What a policy costs, for one network, device and batch.
#[derive(Debug, Clone)]
pub struct CostModel {
    device: Device,
    layers: Vec<Prepared>,
    /// For each layer, the one whose activation bits its result is written at.
    consumers: Vec<usize>,
    names: Vec<String>,
    batch: u64,
    fixed_overhead_s: f64,
    host_link: Option<HostLink>,
    /// `[layer][weight bits - 1][activation bits - 1][result bits - 1]`, filled when the
    /// first policy is summed.
    table: OnceLock<Vec<Entry>>,
    /// For each layer, what was measured on the device; empty when nothing was.
    measured: Vec<BTreeMap<LayerBits, MeasuredCost>>,
    /// `[layer][weight bits - 1]`
    weight_bytes: Vec<[u64; 16]>,
    footprint: Footprint,
    memory: Vec<(String, Option<u64>)>,
}

/// The part of a layer's cost that adds up over layers.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Entry {
    latency_s: f64,
    energy_j: f64,
}

/// One layer's cost with what it moves at each memory level.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerDetail {
    pub cost: LayerCost,
    /// Name and traffic of each level, nearest first.
    pub traffic: Vec<(String, Traffic)>,
    pub roofline: Roofline,
}

impl CostModel {
    /// Works out everything that does not depend on the policy.
    ///
    /// # Errors
    /// [`CostError`] for a workload that cannot be or is too large for exact arithmetic, and
    /// for a batch of 0.
    pub fn new(
        profile: &HardwareProfile,
        workload: &Workload,
        batch: u64,
    ) -> Result<Self, CostError> {
        let device = Device::new(profile);
        let mut layers: Vec<Prepared> = Vec::with_capacity(workload.layers.len());
        for shape in Shape::of_workload(workload, batch)? {
            // Equal layers share what is worked out for them.
            let known = layers.iter().find(|layer| layer.shape == shape).cloned();
            layers.push(known.unwrap_or_else(|| device.prepare(shape)));
        }
        let consumers = (0..layers.len()).map(|index| workload.consumer(index)).collect();
        let activation = |width| device.precision().stored_activation(width);
        let footprint = Footprint::new(workload, batch, activation)?;
        Ok(Self {
            consumers,
            names: workload.layers.iter().map(|layer| layer.name.clone()).collect(),
            batch,
            fixed_overhead_s: profile.fixed_overhead_s,
            host_link: profile.host_link().copied(),
            table: OnceLock::new(),
            measured: measured(profile, workload, batch),
            weight_bytes: layers.iter().map(|layer| layer.weight_bytes).collect(),
            footprint,
            memory: levels(profile),
            layers,
            device,
        })
    }

    /// The same model for weights kept as codebooks: a layer stores codes, packed without gaps,
    /// and a table of the f32 values they stand for, at most one for each weight, instead of
    /// scales. Size and memory follow, and what is streamed where weights overflow a cache; what
    /// a device would take to look values up is not modelled, so the layers' own time and energy
    /// stay those of plain weights.
    #[must_use]
    pub fn with_codebooks(mut self) -> Self {
        let bytes: Vec<_> =
            self.layers.iter().map(|layer| self.device.codebook_bytes(layer)).collect();
        for (layer, bytes) in self.layers.iter_mut().zip(&bytes) {
            layer.weight_bytes = *bytes;
        }
        self.weight_bytes = bytes;
        self
    }

    fn table(&self) -> &[Entry] {
        self.table.get_or_init(|| self.all_entries())
    }

    fn all_entries(&self) -> Vec<Entry> {
        let mut table = Vec::with_capacity(self.layers.len() * ENTRIES);
        for index in 0..self.layers.len() {
            // A layer that equals an earlier one has the same entries.
            let equal = |twin: &usize| {
                self.layers[*twin].shape == self.layers[index].shape && self.measured.is_empty()
            };
            let twin = (0..index).find(equal);
            match twin {
                Some(twin) => table.extend_from_within(twin * ENTRIES..(twin + 1) * ENTRIES),
                None => table.extend((0..ENTRIES).map(|entry| self.entry_of(index, entry))),
            }
        }
        table
    }

    fn entry_of(&self, layer: usize, entry: usize) -> Entry {
        let (weight, activation, out) =
            (entry / (TABLE_WIDTHS * TABLE_WIDTHS), entry / TABLE_WIDTHS, entry);
        let width = |index: usize| nth_width(index % TABLE_WIDTHS);
        self.evaluate(layer, LayerBits::new(width(weight), width(activation)), width(out))
    }

    fn evaluate(&self, layer: usize, bits: LayerBits, out: Bits) -> Entry {
        let cost = self.layer_feeding(layer, bits, out);
        Entry { latency_s: cost.latency_s, energy_j: cost.energy_j }
    }

    pub fn n_layers(&self) -> usize {
        self.layers.len()
    }

    /// Images in the batch all costs are for.
    pub fn batch(&self) -> u64 {
        self.batch
    }

    /// Name of a layer.
    pub fn layer_name(&self, layer_index: usize) -> &str {
        &self.names[layer_index]
    }

    /// Memory levels of the device, nearest first, with their size where they have one.
    pub fn memory_levels(&self) -> &[(String, Option<u64>)] {
        &self.memory
    }

    /// The layer whose activation bits this one's result is written at.
    pub fn consumer(&self, layer_index: usize) -> usize {
        self.consumers[layer_index]
    }

    /// The cost of one layer whose result keeps its own activation bits.
    ///
    /// # Panics
    /// When there is no such layer.
    pub fn layer(&self, layer_index: usize, bits: LayerBits) -> LayerCost {
        self.layer_feeding(layer_index, bits, bits.activation)
    }

    /// The cost of one layer whose result is read at `out` bits.
    ///
    /// # Panics
    /// When there is no such layer.
    pub fn layer_feeding(&self, layer_index: usize, bits: LayerBits, out: Bits) -> LayerCost {
        self.cost_of_layer(layer_index, bits, out)
    }

    /// The latency of one layer whose result keeps its own activation bits, in seconds: what
    /// [`CostModel::layer`] says of it, without working out the rest.
    ///
    /// # Panics
    /// When there is no such layer.
    pub fn layer_latency_s(&self, layer_index: usize, bits: LayerBits) -> f64 {
        self.cost_of_layer(layer_index, bits, bits.activation).latency_s
    }

    /// Inlined, so that a caller that wants one figure pays for one.
    #[inline(always)]
    fn cost_of_layer(&self, layer_index: usize, bits: LayerBits, out: Bits) -> LayerCost {
        let widths = self.device.widths(bits, out);
        let cost = self.device.layer_cost(&self.layers[layer_index], widths);
        if self.measured.is_empty() {
            return cost;
        }
        self.with_measurement(layer_index, bits, cost)
    }

    /// The cost with time and energy replaced by what was measured, if anything was.
    fn with_measurement(&self, layer: usize, bits: LayerBits, cost: LayerCost) -> LayerCost {
        match self.measured.get(layer).and_then(|costs| costs.get(&bits)) {
            None => cost,
            Some(measured) => LayerCost {
                latency_s: measured.latency_s,
                energy_j: measured.energy_j.unwrap_or(cost.energy_j),
                ..cost
            },
        }
    }

    /// The cost of one layer under a policy, with its traffic at each memory level.
    ///
    /// # Panics
    /// When `bits` does not have one pair for each layer, or there is no such layer.
    pub fn explain(&self, layer_index: usize, bits: &[LayerBits]) -> LayerDetail {
        self.expect_one_each(bits);
        let out = bits[self.consumers[layer_index]].activation;
        let widths = self.device.widths(bits[layer_index], out);
        let (cost, traffic, roofline) = self.device.explain(&self.layers[layer_index], widths);
        let cost = self.with_measurement(layer_index, bits[layer_index], cost);
        let names = self.memory.iter().map(|(name, _)| name.clone());
        LayerDetail { cost, traffic: names.zip(traffic).collect(), roofline }
    }

    /// The four costs of a policy; a sum over a table.
    ///
    /// # Panics
    /// When `bits` does not have one pair for each layer.
    pub fn total(&self, bits: &[LayerBits]) -> Cost {
        self.expect_one_each(bits);
        let table = self.table();
        let (mut latency_s, mut energy_j, mut size_bytes) = (0.0, 0.0, 0);
        for (index, own) in bits.iter().enumerate() {
            let entry = self.entry(table, index, *own, bits[self.consumers[index]].activation);
            latency_s += entry.latency_s;
            energy_j += entry.energy_j;
            size_bytes += self.weight_bytes[index][width_index(own.weight)];
        }
        let (activation_peak_bytes, _) = self.footprint.peak(bits);
        self.whole(latency_s, energy_j, size_bytes, activation_peak_bytes)
    }

    /// The latency of a policy, in seconds; a sum over a table.
    ///
    /// # Panics
    /// When `bits` does not have one pair for each layer.
    pub fn latency_s(&self, bits: &[LayerBits]) -> f64 {
        self.expect_one_each(bits);
        let table = self.table();
        let (mut latency_s, mut size_bytes) = (0.0, 0);
        for (index, own) in bits.iter().enumerate() {
            let out = bits[self.consumers[index]].activation;
            latency_s += self.entry(table, index, *own, out).latency_s;
            size_bytes += self.weight_bytes[index][width_index(own.weight)];
        }
        self.with_streaming(latency_s, self.streamed_bytes(size_bytes)) + self.fixed_overhead_s
    }

    fn entry(&self, table: &[Entry], layer: usize, bits: LayerBits, out: Bits) -> Entry {
        let (weight, activation, result) =
            (width_index(bits.weight), width_index(bits.activation), width_index(out));
        if weight.max(activation).max(result) >= TABLE_WIDTHS {
            return self.evaluate(layer, bits, out);
        }
        table[((layer * TABLE_WIDTHS + weight) * TABLE_WIDTHS + activation) * TABLE_WIDTHS + result]
    }

    /// A policy's costs from the sums over its layers.
    fn whole(&self, layers_s: f64, layers_j: f64, size_bytes: u64, activations: u64) -> Cost {
        let streamed = self.streamed_bytes(size_bytes);
        let latency_s = self.with_streaming(layers_s, streamed) + self.fixed_overhead_s;
        // Each layer's idle energy is in its own sum; this is the rest of the time.
        let idle_j = self.device.idle_w() * (latency_s - layers_s);
        let streaming_j = self.device.furthest_read_pj(streamed) * 1e-12;
        Cost {
            latency_s,
            energy_j: layers_j + idle_j + streaming_j,
            size_bytes,
            peak_memory_bytes: size_bytes + activations,
        }
    }

    /// Bytes of weights that do not fit on the device.
    fn streamed_bytes(&self, size_bytes: u64) -> u64 {
        self.host_link.map_or(0, |link| size_bytes.saturating_sub(link.cached_weight_bytes))
    }

    /// Latency of the layers with the overflow of weights streamed.
    fn with_streaming(&self, layers_s: f64, streamed_bytes: u64) -> f64 {
        match self.host_link {
            None => layers_s,
            Some(link) => {
                let streaming_s = streamed_bytes as f64 / link.bytes_per_s;
                match link.policy {
                    StreamPolicy::Add => layers_s + streaming_s,
                    StreamPolicy::Overlap => layers_s.max(streaming_s),
                }
            }
        }
    }

    /// The costs of a policy, layer by layer.
    ///
    /// # Panics
    /// When `bits` does not have one pair for each layer.
    pub fn network(&self, bits: &[LayerBits]) -> NetworkCost {
        self.expect_one_each(bits);
        let layers: Vec<LayerCost> = bits
            .iter()
            .enumerate()
            .map(|(index, own)| {
                self.layer_feeding(index, *own, bits[self.consumers[index]].activation)
            })
            .collect();
        let sum = |count: fn(&LayerCost) -> u64| layers.iter().map(count).sum::<u64>();
        let weight_bytes = sum(|layer| layer.size_bytes);
        let (activation_peak_bytes, peak_step) = self.footprint.peak(bits);
        let streamed_bytes = self.streamed_bytes(weight_bytes);
        let cost = self.whole(
            layers.iter().fold(0.0, |sum, layer| sum + layer.latency_s),
            layers.iter().fold(0.0, |sum, layer| sum + layer.energy_j),
            weight_bytes,
            activation_peak_bytes,
        );
        NetworkCost {
            cost,
            batch: self.batch,
            cycles: sum(|layer| layer.cycles),
            compute_cycles: sum(|layer| layer.compute_cycles),
            macs: sum(|layer| layer.macs),
            dram_bytes: sum(|layer| layer.dram_bytes),
            weight_bytes,
            activation_peak_bytes,
            peak_step: peak_step.to_owned(),
            streamed_bytes,
            streaming_s: self
                .host_link
                .map_or(0.0, |link| streamed_bytes as f64 / link.bytes_per_s),
            fixed_overhead_s: self.fixed_overhead_s,
            modelled_layers: self.modelled_layers(bits),
            layers,
        }
    }

    /// Layers a profile with measurements has none for at these widths.
    fn modelled_layers(&self, bits: &[LayerBits]) -> Vec<usize> {
        let without = |(layer, costs): (usize, &BTreeMap<LayerBits, MeasuredCost>)| {
            (!costs.contains_key(&bits[layer])).then_some(layer)
        };
        self.measured.iter().enumerate().filter_map(without).collect()
    }

    /// Whether any policy of 1 to 8 bits changes this cost on this device.
    pub fn depends_on_bits(&self, kind: CostKind) -> bool {
        let uniform = |bits| self.total(&vec![LayerBits::new(bits, bits); self.n_layers()]);
        uniform(Bits::MIN).get(kind) != uniform(Bits::EIGHT).get(kind)
    }

    fn expect_one_each(&self, bits: &[LayerBits]) {
        assert_eq!(bits.len(), self.layers.len(), "a policy has one pair of widths a layer");
    }
}

/// The measurements of each layer; empty when the profile has none at all.
fn measured(
    profile: &HardwareProfile,
    workload: &Workload,
    batch: u64,
) -> Vec<BTreeMap<LayerBits, MeasuredCost>> {
    let table = profile.measured();
    if table.is_empty() {
        return Vec::new();
    }
    workload.layers.iter().map(|layer| table.of_layer(&layer.name, batch)).collect()
}

fn levels(profile: &HardwareProfile) -> Vec<(String, Option<u64>)> {
    profile.memory().iter().map(|level| (level.name.clone(), level.bytes)).collect()
}
