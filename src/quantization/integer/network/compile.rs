//! From a network that rounds to steps on integers, node by node.

use std::collections::BTreeMap;

use super::{
    IntegerNetwork,
    addition::Addition,
    layer::{ExactConstant, Follower, LayerCodes},
    movement::{self, is_function, moves},
    pool::Pool,
    reference::{Reference, TwoStepRounding},
    steps::{Slots, Source, Step},
    value::{CodeGrid, Form, SumChannel, Sums, Value, channels_of, count},
};
use crate::{
    network::{Executable, Graph, Node, Op, QuantizableLayer, Reduction, Shapes, TensorId, Window},
    quantization::{
        error::QuantizationError,
        integer::{
            BatchNormSign, Convolution, ConvolutionShape, IntegerError, Kernel, Requantization,
            SignThreshold, requantizer::Requantizer,
        },
        uniform::WeightGrid,
    },
};

/// Which kernels a network is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelChoice {
    /// Products of 16-bit numbers everywhere.
    Int8,
    /// Popcounts of packed bits where an operand has fewer than 8, XNOR where both are signs.
    Packed,
}

pub(super) struct Compiler<'a> {
    /// Becomes the float network that rounds as the integers do.
    graph: Graph,
    grids: &'a BTreeMap<TensorId, Vec<WeightGrid>>,
    kernels: KernelChoice,
    shapes: Shapes,
    executable: Executable,
    values: BTreeMap<TensorId, Value>,
    slots: Slots,
    steps: Vec<Step>,
    exact: Vec<(TensorId, ExactConstant)>,
    roundings: BTreeMap<TensorId, TwoStepRounding>,
}

impl<'a> Compiler<'a> {
    pub fn compile(
        graph: &Graph,
        grids: &'a BTreeMap<TensorId, Vec<WeightGrid>>,
        image: &[usize],
        kernels: KernelChoice,
    ) -> Result<IntegerNetwork, QuantizationError> {
        let shape: Vec<usize> = std::iter::once(1).chain(image.iter().copied()).collect();
        let (input, output) = (graph.input()?.tensor, graph.output()?);
        let mut compiler = Self {
            graph: graph.clone(),
            grids,
            kernels,
            shapes: graph.shapes(&shape)?,
            executable: Executable::in_double(graph)?,
            values: BTreeMap::from([(input, Value { shape, form: Form::Image { moved: None } })]),
            slots: Slots::default(),
            steps: Vec::new(),
            exact: Vec::new(),
            roundings: BTreeMap::new(),
        };
        let nodes = graph.nodes().to_vec();
        for (position, node) in nodes.iter().enumerate() {
            if let Some(form) = compiler.form_of(node)? {
                let shape = compiler.shapes.get(node.output).to_vec();
                compiler.values.insert(node.output, Value { shape, form });
            }
            compiler.free(&nodes[position..], output);
        }
        let last = compiler.values.remove(&output);
        let last = last.expect("the shapes of all nodes were inferred, so one computes the output");
        if let Form::Image { .. } = last.form {
            let name = graph.tensor_name(output).to_owned();
            let reason = "as a network of its own; it gives the image back".to_owned();
            return Err(IntegerError::Unsupported { node: name, op: "input", reason }.into());
        }
        let Self { graph, steps, exact, roundings, .. } = compiler;
        let reference = Reference { graph, exact, roundings };
        Ok(IntegerNetwork { reference, steps, output: last, n_image: count(image) })
    }

    /// What a node's output is, after the steps that compute it were added; none for a node
    /// that has nothing to do with the image.
    fn form_of(&mut self, node: &Node) -> Result<Option<Form>, QuantizationError> {
        let computed: Vec<(TensorId, Value)> =
            node.reads().filter_map(|read| Some((read, self.values.get(&read)?.clone()))).collect();
        let Some((id, value)) = computed.first() else { return Ok(None) };
        let form = match &node.op {
            Op::FakeQuantize(grid) => {
                let grid = CodeGrid::of(grid, self.graph.tensor_name(*id))?;
                self.round(node, value, grid)?
            }
            Op::Binarize { scale } => self.round(node, value, CodeGrid::signs(*scale))?,
            Op::Conv { .. } | Op::Gemm { .. } | Op::MatMul => self.layer(node, value)?,
            Op::Add | Op::Sub => self.add(node, &computed)?,
            Op::Relu => self.clip(node, *id, value, [0.0, f64::INFINITY])?,
            Op::Clip { low, high } => {
                self.clip(node, *id, value, [f64::from(*low), f64::from(*high)])?
            }
            Op::BatchNorm { epsilon } => self.normalize(node, value, f64::from(*epsilon))?,
            Op::MaxPool { window, .. } => self.max_pool(node, value, window)?,
            Op::AveragePool { window, count_padding, .. } => {
                let pool = self.pool(node, value, window, *count_padding)?;
                self.mean(node, value, pool, true)?
            }
            Op::GlobalAveragePool => self.mean(node, value, whole(value), true)?,
            Op::Reduce { kind: kind @ (Reduction::Mean | Reduction::Sum), axes, .. }
                if is_spatial(axes, &value.shape) =>
            {
                self.mean(node, value, whole(value), *kind == Reduction::Mean)?
            }
            Op::Concat { .. } => self.concat(node, &computed)?,
            op if moves(op) => self.move_numbers(node, &computed)?,
            op if is_function(op) => self.function(node, *id, value)?,
            _ => {
                let known = "; convolutions, linear layers, sums, pools, functions of one number \
                             and what moves numbers can be";
                return Err(unsupported(node, format!("yet{known}")).into());
            }
        };
        Ok(Some(form))
    }

    /// Gives back the slots of values that no node from the second on reads.
    fn free(&mut self, nodes: &[Node], output: TensorId) {
        let later: std::collections::BTreeSet<TensorId> =
            nodes[1..].iter().flat_map(Node::reads).chain([output]).collect();
        self.values.retain(|tensor, _| later.contains(tensor));
        let used = self.values.values().filter_map(|value| match &value.form {
            Form::Image { .. } => None,
            Form::Codes { slot, .. } | Form::Function { slot, .. } => Some((true, *slot)),
            Form::Sums { slot, .. } => Some((false, *slot)),
        });
        self.slots.keep(used.collect());
    }

    /// To the codes of a grid.
    fn round(
        &mut self,
        node: &Node,
        value: &Value,
        grid: CodeGrid,
    ) -> Result<Form, QuantizationError> {
        let from_codes = |values: &[f64]| values.iter().map(|&x| grid.code(x)).collect::<Vec<u8>>();
        match &value.form {
            Form::Codes { grid: own, slot } if *own == grid => {
                Ok(Form::Codes { slot: *slot, grid })
            }
            Form::Image { moved } => {
                let to = self.slots.codes();
                self.steps.push(Step::Quantize { moved: moved.clone(), grid, to });
                Ok(Form::Codes { slot: to, grid })
            }
            Form::Codes { slot, grid: own } => {
                let table = from_codes(&own.values());
                Ok(self.map(*slot, table, grid))
            }
            Form::Function { slot, values } => {
                let table = from_codes(values);
                Ok(self.map(*slot, table, grid))
            }
            Form::Sums { slot, sums } if grid.range.signs => {
                let thresholds = thresholds(node, sums)?;
                let to = self.slots.codes();
                self.steps.push(Step::Sign { from: *slot, thresholds, to });
                Ok(Form::Codes { slot: to, grid })
            }
            Form::Sums { slot, sums } => {
                let channels = requantizations(node, sums, grid)?;
                // Of layers the scales were settled so that the ratio is exact.
                let divisor = match (channels.as_slice(), sums.channels.as_slice()) {
                    ([one], [sum]) if one.ratio() > 0.0 => sum.scale / one.ratio(),
                    _ => grid.scale,
                };
                self.roundings.insert(node.output, TwoStepRounding::Codes { divisor });
                let requantizer = Requantizer::new(&channels);
                let to = self.slots.codes();
                self.steps.push(Step::Requantize { from: *slot, requantizer, to });
                Ok(Form::Codes { slot: to, grid })
            }
        }
    }

    fn map(&mut self, from: usize, table: Vec<u8>, grid: CodeGrid) -> Form {
        let to = self.slots.codes();
        self.steps.push(Step::Map { from, table, to });
        Form::Codes { slot: to, grid }
    }

    fn layer(&mut self, node: &Node, value: &Value) -> Result<Form, QuantizationError> {
        let layer = self.graph.quantizable_layers().into_iter().find(|l| l.output == node.output);
        let Some(layer) = layer else {
            return Err(unsupported(node, "with weights that are not constant".into()).into());
        };
        let (slot, grid) = codes(node, value)?;
        let follower = match only_signs_follow(&self.graph, node.output) {
            true => Follower::Sign,
            false => next_grid(&self.graph, node.output).map_or(Follower::Other, Follower::Grid),
        };
        let grids = self.grids.get(&node.output).map_or(&[][..], Vec::as_slice);
        let mut settled = LayerCodes::settle(&mut self.graph, &layer, grids, grid.scale, follower)?;
        self.exact.append(&mut settled.exact);
        if settled.scales.iter().any(|scale| *scale < 0.0) {
            return Err(unsupported(node, "with alpha below 0".into()).into());
        }
        let shape = self.layer_shape(node, value, &layer)?;
        let kernel = match self.kernels {
            KernelChoice::Int8 => Kernel::Int8,
            KernelChoice::Packed => Kernel::packed(settled.bits, grid.range, &shape),
        };
        let LayerCodes { bits, weights, bias, .. } = &settled;
        let convolution = Convolution::new(shape, weights, *bits, bias.clone(), grid.range, kernel)
            .map_err(|error| error.at(node))?;
        let channels = settled.scales.iter().zip(convolution.reach()).enumerate();
        let channels = channels.map(|(channel, (&scale, &reach))| {
            let beta = settled.bias_apart.as_ref().map(|bias| bias[channel]);
            let norm = beta.map(|beta| BatchNormSign { beta, ..BatchNormSign::plain(scale) });
            SumChannel { scale, reach, norm }
        });
        let sums = Sums::new(channels.collect());
        let to = self.slots.sums();
        self.steps.push(Step::Convolve { from: slot, convolution: Box::new(convolution), to });
        Ok(Form::Sums { slot: to, sums })
    }

    fn layer_shape(
        &self,
        node: &Node,
        value: &Value,
        layer: &QuantizableLayer,
    ) -> Result<ConvolutionShape, IntegerError> {
        let weight = self.graph.constant(layer.weight).expect("a layer's weight is constant");
        let out_channels = weight.shape()[layer.output_axis];
        match (&node.op, value.shape.as_slice()) {
            (Op::Conv { window, groups }, &[_, in_channels, height, width]) => {
                let [top, left, bottom, right] = window.padding;
                Ok(ConvolutionShape {
                    in_channels,
                    out_channels,
                    input: [height, width],
                    kernel: window.kernel,
                    stride: window.stride,
                    pad_begin: [top, left],
                    pad_end: [bottom, right],
                    dilation: window.dilation,
                    groups: *groups,
                })
            }
            (Op::Gemm { transpose_a: false, .. }, &[rows, columns])
            | (Op::MatMul, &[rows, columns])
            | (Op::MatMul, &[1, rows, columns]) => {
                Ok(ConvolutionShape::linear(rows, columns, out_channels))
            }
            (_, shape) => Err(unsupported(node, format!("on an input of shape {shape:?}"))),
        }
    }

    fn add(
        &mut self,
        node: &Node,
        computed: &[(TensorId, Value)],
    ) -> Result<Form, QuantizationError> {
        let [(_, a), (_, b)] = computed else {
            return Err(unsupported(node, "with a constant".into()).into());
        };
        if a.shape != b.shape {
            return Err(unsupported(node, "on tensors of two shapes".into()).into());
        }
        let ((first, x), (second, y)) = (codes(node, a)?, codes(node, b)?);
        let zero_points = [x.range.zero_point, y.range.zero_point];
        let subtract = node.op == Op::Sub;
        let addition = Addition::new([x.scale, y.scale], zero_points, subtract)
            .map_err(|error| error.at(node))?;
        let unit = addition.scale;
        self.roundings.insert(node.output, TwoStepRounding::Operands { unit });
        let sums = Sums::new(vec![SumChannel::new(unit, addition.reach)]);
        let to = self.slots.sums();
        self.steps.push(Step::Add { from: [first, second], addition, to });
        Ok(Form::Sums { slot: to, sums })
    }

    fn clip(
        &mut self,
        node: &Node,
        input: TensorId,
        value: &Value,
        [low, high]: [f64; 2],
    ) -> Result<Form, QuantizationError> {
        let Form::Sums { slot, sums } = &value.form else {
            return self.function(node, input, value);
        };
        if !sums.has_norm() {
            return Ok(Form::Sums { slot: *slot, sums: sums.clipped(low, high) });
        }
        if low < 0.0 && high >= 0.0 {
            // Only a sign can follow, and a clip around zero leaves it alone.
            return Ok(value.form.clone());
        }
        Err(unsupported(node, "between a normalization and a sign".into()).into())
    }

    fn function(
        &mut self,
        node: &Node,
        input: TensorId,
        value: &Value,
    ) -> Result<Form, QuantizationError> {
        let (slot, values) = match &value.form {
            Form::Codes { slot, grid } => (*slot, grid.values()),
            Form::Function { slot, values } => (*slot, values.clone()),
            _ => return Err(unsupported(node, NEEDS_CODES.into()).into()),
        };
        let values = movement::function(&self.executable, node, input, &values)?;
        Ok(Form::Function { slot, values })
    }

    /// Batch normalization that no layer took in: the sign after it becomes a threshold.
    fn normalize(
        &mut self,
        node: &Node,
        value: &Value,
        epsilon: f64,
    ) -> Result<Form, QuantizationError> {
        let (slot, sums) = self.as_sums(node, value)?;
        let parameters: Option<Vec<&[f32]>> =
            (1..5).map(|position| self.graph.constant(node.input(position)?)?.as_f32()).collect();
        let (Some(parameters), false) = (parameters, sums.is_clipped()) else {
            let reason = "after a clip, or with parameters that are not constant";
            return Err(unsupported(node, reason.into()).into());
        };
        if !only_signs_follow(&self.graph, node.output) {
            let reason = "unless a sign follows; fold it into the layer before";
            return Err(unsupported(node, reason.into()).into());
        }
        let n = channels_of(&value.shape);
        let channels = (0..n).map(|channel| {
            let own = sums.channels[channel % sums.channels.len()];
            let at = |index: usize| f64::from(parameters[index][channel]);
            let before = own.norm.map_or(0.0, |norm| norm.beta);
            let norm = BatchNormSign {
                accumulator_scale: own.scale,
                mean: at(2) - before,
                deviation: (at(3) + epsilon).sqrt(),
                gamma: at(0),
                beta: at(1),
            };
            SumChannel { norm: Some(norm), ..own }
        });
        let channels = channels.collect();
        Ok(Form::Sums { slot, sums: Sums::new(channels) })
    }

    /// A value as sums: codes as their distance from the zero point.
    fn as_sums(&mut self, node: &Node, value: &Value) -> Result<(usize, Sums), IntegerError> {
        match &value.form {
            Form::Sums { slot, sums } => Ok((*slot, sums.clone())),
            Form::Codes { slot, grid } => {
                let channel = SumChannel::new(grid.scale, grid.range.magnitude());
                let (to, zero_point) = (self.slots.sums(), grid.range.zero_point);
                self.steps.push(Step::Centre { from: *slot, zero_point, to });
                Ok((to, Sums::new(vec![channel])))
            }
            _ => Err(unsupported(node, NEEDS_CODES.into())),
        }
    }

    fn pool(
        &self,
        node: &Node,
        value: &Value,
        window: &Window,
        count_padding: bool,
    ) -> Result<Pool, IntegerError> {
        let (&[_, channels, height, width], &[_, _, rows, columns]) =
            (value.shape.as_slice(), self.shapes.get(node.output))
        else {
            return Err(unsupported(node, "on tensors that are not images".into()));
        };
        Pool::new(channels, [height, width], [rows, columns], window, count_padding)
            .map_err(|error| error.at(node))
    }

    fn max_pool(
        &mut self,
        node: &Node,
        value: &Value,
        window: &Window,
    ) -> Result<Form, QuantizationError> {
        let pool = Box::new(self.pool(node, value, window, true)?);
        match &value.form {
            Form::Codes { slot, grid } => {
                let to = self.slots.codes();
                self.steps.push(Step::MaxCodes { from: *slot, pool, to });
                Ok(Form::Codes { slot: to, grid: *grid })
            }
            Form::Sums { slot, sums } => {
                let falls = |channel: &SumChannel| channel.norm.is_some_and(|n| n.gamma < 0.0);
                if sums.channels.iter().any(falls) {
                    let reason = "of a normalization with a factor below 0";
                    return Err(unsupported(node, reason.into()).into());
                }
                let to = self.slots.sums();
                self.steps.push(Step::MaxSums { from: *slot, pool, to });
                Ok(Form::Sums { slot: to, sums: sums.clone() })
            }
            _ => Err(unsupported(node, NEEDS_CODES.into()).into()),
        }
    }

    fn mean(
        &mut self,
        node: &Node,
        value: &Value,
        pool: Pool,
        divide: bool,
    ) -> Result<Form, QuantizationError> {
        let (slot, grid) = codes(node, value)?;
        let reach = grid.range.magnitude() * pool.divisor;
        if reach > i64::from(i32::MAX) {
            return Err(IntegerError::Accumulator { what: "mean", reach }.at(node).into());
        }
        let scale = if divide { grid.scale / pool.divisor as f64 } else { grid.scale };
        let sums = Sums::new(vec![SumChannel::new(scale, reach)]);
        let (to, zero_point) = (self.slots.sums(), grid.range.zero_point);
        self.steps.push(Step::Sum { from: slot, zero_point, pool: Box::new(pool), to });
        Ok(Form::Sums { slot: to, sums })
    }

    fn concat(
        &mut self,
        node: &Node,
        computed: &[(TensorId, Value)],
    ) -> Result<Form, QuantizationError> {
        let grid = |value: &Value| match value.form {
            Form::Codes { grid, .. } => Some(grid),
            _ => None,
        };
        let first = grid(&computed[0].1);
        if first.is_some() && computed.iter().all(|(_, value)| grid(value) == first) {
            return self.move_numbers(node, computed);
        }
        let mut parts = Vec::with_capacity(computed.len());
        for (id, value) in computed {
            let (slot, sums) = self.as_sums(node, value)?;
            let form = Form::Sums { slot, sums };
            parts.push((*id, Value { shape: value.shape.clone(), form }));
        }
        self.move_numbers(node, &parts)
    }

    fn move_numbers(
        &mut self,
        node: &Node,
        computed: &[(TensorId, Value)],
    ) -> Result<Form, QuantizationError> {
        let inputs: Vec<(TensorId, &[usize])> =
            computed.iter().map(|(id, value)| (*id, value.shape.as_slice())).collect();
        let constants = node.reads().filter(|read| self.graph.constant(*read).is_some()).count();
        if matches!(node.op, Op::Concat { .. }) && constants > 0 {
            return Err(unsupported(node, "with a constant".into()).into());
        }
        let table = movement::table(&self.executable, node, &inputs)?;
        let stays = table.iter().enumerate().all(|(at, from)| *from == Some(at as u32));
        if let ([(_, value)], true) = (computed, stays) {
            return Ok(value.form.clone());
        }
        let lengths: Vec<usize> = computed.iter().map(|(_, value)| count(&value.shape)).collect();
        match &computed[0].1.form {
            Form::Image { moved } => {
                let compose = |from: &Option<u32>| match (from, moved) {
                    (Some(from), Some(moved)) => moved[*from as usize],
                    (from, _) => *from,
                };
                Ok(Form::Image { moved: Some(table.iter().map(compose).collect()) })
            }
            Form::Codes { grid, .. } => {
                let from = slots_of(computed, true);
                let to = self.slots.codes();
                let (fill, sources) = (grid.range.zero_point as u8, Source::all(&table, &lengths));
                self.steps.push(Step::MoveCodes { from, sources, fill, to });
                Ok(Form::Codes { slot: to, grid: *grid })
            }
            Form::Sums { .. } => {
                let parts: Vec<&Sums> = computed
                    .iter()
                    .filter_map(|(_, value)| match &value.form {
                        Form::Sums { sums, .. } => Some(sums),
                        _ => None,
                    })
                    .collect();
                let sources = Source::all(&table, &lengths);
                let sums = moved_sums(node, &parts, &sources, self.shapes.get(node.output))?;
                let from = slots_of(computed, false);
                let to = self.slots.sums();
                self.steps.push(Step::MoveSums { from, sources, to });
                Ok(Form::Sums { slot: to, sums })
            }
            Form::Function { .. } => Err(unsupported(node, NEEDS_CODES.into()).into()),
        }
    }
}

const NEEDS_CODES: &str = "on a tensor without a grid; give it quantization points first";

fn unsupported(node: &Node, reason: String) -> IntegerError {
    IntegerError::Unsupported { node: node.name.clone(), op: node.op.name(), reason }
}

/// Slot and grid of a tensor that holds codes.
fn codes(node: &Node, value: &Value) -> Result<(usize, CodeGrid), IntegerError> {
    match &value.form {
        Form::Codes { slot, grid } => Ok((*slot, *grid)),
        _ => Err(unsupported(node, NEEDS_CODES.into())),
    }
}

fn slots_of(computed: &[(TensorId, Value)], of_codes: bool) -> Vec<usize> {
    let slot = |form: &Form| match form {
        Form::Codes { slot, .. } if of_codes => Some(*slot),
        Form::Sums { slot, .. } if !of_codes => Some(*slot),
        _ => None,
    };
    computed.iter().filter_map(|(_, value)| slot(&value.form)).collect()
}

/// The mean over all places of an image.
fn whole(value: &Value) -> Pool {
    let channels = channels_of(&value.shape);
    Pool::global(channels, count(&value.shape) / channels.max(1))
}

/// Whether axes are the height and width of images.
fn is_spatial(axes: &[i64], shape: &[usize]) -> bool {
    let mut axes: Vec<i64> =
        axes.iter().map(|&axis| if axis < 0 { axis + 4 } else { axis }).collect();
    axes.sort_unstable();
    shape.len() == 4 && axes == [2, 3]
}

/// Whether every path from a tensor ends in a sign, with nothing but what keeps signs between.
fn only_signs_follow(graph: &Graph, tensor: TensorId) -> bool {
    let readers = graph.readers(tensor);
    let ends = |&reader: &usize| {
        let node = &graph.nodes()[reader];
        match &node.op {
            Op::Binarize { .. } => true,
            Op::Clip { low, high } if *low < 0.0 && *high >= 0.0 => {
                only_signs_follow(graph, node.output)
            }
            Op::MaxPool { .. } | Op::BatchNorm { .. } => only_signs_follow(graph, node.output),
            op if moves(op) && !matches!(op, Op::Pad { .. }) => {
                only_signs_follow(graph, node.output)
            }
            _ => false,
        }
    };
    !graph.is_output(tensor) && !readers.is_empty() && readers.iter().all(ends)
}

/// The scale of the first grid behind a tensor, with only clips and moves between.
fn next_grid(graph: &Graph, tensor: TensorId) -> Option<f64> {
    graph.readers(tensor).into_iter().find_map(|reader| {
        let node = &graph.nodes()[reader];
        match &node.op {
            Op::FakeQuantize(grid) => Some(f64::from(grid.scale)),
            Op::Relu | Op::Clip { .. } | Op::MaxPool { .. } => next_grid(graph, node.output),
            op if moves(op) => next_grid(graph, node.output),
            _ => None,
        }
    })
}

fn requantizations(
    node: &Node,
    sums: &Sums,
    grid: CodeGrid,
) -> Result<Vec<Requantization>, IntegerError> {
    if sums.has_norm() {
        return Err(unsupported(node, "after a normalization; only a sign can follow".into()));
    }
    let bound = |x: f64| i32::from(grid.code(x));
    let bounds = (bound(sums.clip[0]), bound(sums.clip[1]));
    let channel = |channel: &SumChannel| {
        let ratio = channel.scale / grid.scale;
        Requantization::new(ratio, grid.range.zero_point, bounds).map_err(|error| error.at(node))
    };
    sums.channels.iter().map(channel).collect()
}

fn thresholds(node: &Node, sums: &Sums) -> Result<Vec<SignThreshold>, IntegerError> {
    if sums.is_clipped() && !(sums.clip[0] < 0.0 && sums.clip[1] >= 0.0) {
        return Err(unsupported(node, "after a clip that takes one sign away".into()));
    }
    let fold = |channel: &SumChannel| {
        let layer = channel.norm.unwrap_or(BatchNormSign::plain(channel.scale));
        SignThreshold::fold(&layer, i32::try_from(channel.reach).expect("sums fit 32 bits"))
    };
    Ok(sums.channels.iter().map(fold).collect())
}

/// What moved sums stand for: by channel where all places of one agree, else by place.
fn moved_sums(
    node: &Node,
    parts: &[&Sums],
    sources: &[Option<Source>],
    shape: &[usize],
) -> Result<Sums, IntegerError> {
    let clip = parts[0].clip;
    let fills = sources.iter().any(Option::is_none);
    let holds_zero = clip[0] <= 0.0 && clip[1] >= 0.0 && !parts[0].has_norm();
    if parts.iter().any(|part| part.clip != clip) || (fills && !holds_zero) {
        return Err(unsupported(node, "behind a clip or a normalization".into()));
    }
    let channel = |source: &Option<Source>| {
        source.map(|source| {
            let channels = &parts[source.part as usize].channels;
            channels[source.index as usize % channels.len()]
        })
    };
    let by_place: Vec<Option<SumChannel>> = sources.iter().map(channel).collect();
    // A place that is filled with zeros fits any channel.
    let filler = by_place.iter().flatten().next().copied().unwrap_or(SumChannel::new(1.0, 0));
    let n_channels = channels_of(shape);
    for period in [1, n_channels] {
        let mut channels: Vec<Option<SumChannel>> = vec![None; period];
        let agrees = by_place.iter().enumerate().all(|(at, channel)| {
            let Some(channel) = channel else { return true };
            *channels[at % period].get_or_insert(*channel) == *channel
        });
        if agrees {
            let channels = channels.into_iter().map(|c| c.unwrap_or(filler)).collect();
            return Ok(Sums { channels, clip });
        }
    }
    let channels = by_place.into_iter().map(|channel| channel.unwrap_or(filler)).collect();
    Ok(Sums { channels, clip })
}
