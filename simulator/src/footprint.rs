//! Peak memory of activations: the largest sum of tensors alive at one step.

use crate::{
    bits::{Bits, LayerBits},
    precision::{nth_width, width_index},
    shape::CostError,
    workload::{Layer, Workload, WorkloadError},
};

/// Tensors that share a step and the layer they take their bits from.
#[derive(Debug, Clone)]
struct Group {
    /// The layer whose activation bits decide; `None` for a fixed size.
    layer: Option<usize>,
    /// `[activation bits - 1]`
    bytes: [u64; 16],
}

/// One step's live tensors, as positions in a list of groups.
#[derive(Debug, Clone)]
struct Step {
    name: String,
    groups: std::ops::Range<usize>,
    /// Bytes when all activations have one width, `[bits - 1]`: no policy whose widest
    /// activations have it takes more.
    most_bytes: [u64; 16],
}

/// Live tensors of a network at every step that can be the peak.
#[derive(Debug, Clone)]
pub(crate) struct Footprint {
    groups: Vec<Group>,
    steps: Vec<Step>,
}

/// A tensor that no layer reads is kept at 8 bits.
const UNREAD: Bits = Bits::EIGHT;

impl Footprint {
    /// - `stored`: width in memory of a tensor that is read at the given width
    ///
    /// # Errors
    /// A tensor too large for exact arithmetic.
    pub fn new(
        workload: &Workload,
        batch: u64,
        stored: impl Fn(Bits) -> Bits,
    ) -> Result<Self, CostError> {
        check_sizes(workload, batch)?;
        let mut footprint = Self { groups: Vec::new(), steps: Vec::new() };
        let live = if workload.tensors.is_empty() {
            layer_steps(workload)
        } else {
            tensor_steps(workload)
        };
        for (name, tensors) in live {
            let first = footprint.groups.len();
            for (layer, elements) in tensors {
                footprint.add(first, layer, elements * batch, &stored);
            }
            let groups = first..footprint.groups.len();
            let most_bytes = std::array::from_fn(|width| {
                footprint.groups[groups.clone()].iter().map(|group| group.bytes[width]).sum()
            });
            footprint.steps.push(Step { name, groups, most_bytes });
        }
        // The largest first, so that the others need not be looked at closely.
        let eight = width_index(Bits::EIGHT);
        footprint.steps.sort_by_key(|step| std::cmp::Reverse(step.most_bytes[eight]));
        Ok(footprint)
    }

    /// Adds a tensor to the step whose groups start at `first`.
    fn add(
        &mut self,
        first: usize,
        layer: Option<usize>,
        elements: u64,
        stored: impl Fn(Bits) -> Bits,
    ) {
        let bytes_at = |bits: Bits| (elements * u64::from(stored(bits).get())).div_ceil(8);
        let bytes: [u64; 16] = std::array::from_fn(|index| match layer {
            Some(_) => bytes_at(nth_width(index)),
            None => bytes_at(UNREAD),
        });
        match self.groups[first..].iter_mut().find(|group| group.layer == layer) {
            Some(group) => {
                for (sum, more) in group.bytes.iter_mut().zip(bytes) {
                    *sum += more;
                }
            }
            None => self.groups.push(Group { layer, bytes }),
        }
    }

    /// Bytes of the worst step, and its name.
    pub fn peak(&self, bits: &[LayerBits]) -> (u64, &str) {
        let widest = bits.iter().map(|layer| layer.activation).max().unwrap_or(Bits::MIN);
        let widest = width_index(widest);
        let mut peak = (0, "");
        for step in &self.steps {
            if step.most_bytes[widest] > peak.0 {
                let bytes = self.bytes(step, bits);
                if bytes > peak.0 {
                    peak = (bytes, step.name.as_str());
                }
            }
        }
        peak
    }

    fn bytes(&self, step: &Step, bits: &[LayerBits]) -> u64 {
        let bytes = |group: &Group| {
            let width = group.layer.map_or(Bits::MIN, |layer| bits[layer].activation);
            group.bytes[width_index(width)]
        };
        self.groups[step.groups.clone()].iter().map(bytes).sum()
    }
}

/// Holds every tensor against a limit that keeps sums of them far below 2^64.
fn check_sizes(workload: &Workload, batch: u64) -> Result<(), CostError> {
    const LIMIT: u64 = 1 << 40;
    for tensor in &workload.tensors {
        if tensor.elements.checked_mul(batch).is_none_or(|elements| elements > LIMIT) {
            return Err(CostError::Workload(WorkloadError::Tensor {
                name: tensor.name.clone(),
                problem: format!(
                    "{} elements at batch {batch}; it needs to have at most {LIMIT}",
                    tensor.elements
                ),
            }));
        }
    }
    Ok(())
}

/// A layer index and elements for one image.
type Live = (Option<usize>, u64);

/// A bare list of layers: input and result of each.
fn layer_steps(workload: &Workload) -> Vec<(String, Vec<Live>)> {
    let step = |(index, layer): (usize, &Layer)| {
        let input = (Some(index), layer.in_elements());
        let result = (Some(workload.consumer(index)), layer.out_elements());
        (layer.name.clone(), vec![input, result])
    };
    workload.layers.iter().enumerate().map(step).collect()
}

/// The tensors alive at each step, without steps that another one contains.
fn tensor_steps(workload: &Workload) -> Vec<(String, Vec<Live>)> {
    let alive: Vec<Vec<usize>> = (0..workload.steps.len())
        .map(|step| {
            let lives = |tensor: &usize| {
                let tensor = &workload.tensors[*tensor];
                (tensor.first_step..=tensor.last_step).contains(&step)
            };
            (0..workload.tensors.len()).filter(lives).collect()
        })
        .collect();
    let contained = |step: usize| {
        // Only a neighbour can hold all of a step's tensors: what lives at both ends of a
        // stretch lives in between.
        let within = |other: usize| alive[step].iter().all(|tensor| alive[other].contains(tensor));
        let after = step + 1 < alive.len() && within(step + 1);
        let before = step > 0 && within(step - 1) && alive[step - 1].len() > alive[step].len();
        after || before
    };
    let live = |tensor: &usize| {
        let tensor = &workload.tensors[*tensor];
        (tensor.bits_of_layer, tensor.elements)
    };
    (0..alive.len())
        .filter(|step| !contained(*step))
        .map(|step| (workload.steps[step].clone(), alive[step].iter().map(live).collect()))
        .collect()
}
