//! Layers and additions: what makes sums out of codes.

use super::{Compiler, KernelChoice, codes, unsupported};
use crate::{
    network::{Graph, Node, Op, QuantizableLayer, TensorId},
    quantization::{
        error::QuantizationError,
        integer::{
            BatchNormSign, Convolution, ConvolutionShape, IntegerError, Kernel,
            network::{
                addition::Addition,
                layer::{Follower, LayerCodes},
                movement::moves,
                reference::TwoStepRounding,
                steps::Step,
                value::{Form, SumChannel, Sums, Value},
            },
        },
    },
};

impl Compiler<'_> {
    pub(super) fn layer(&mut self, node: &Node, value: &Value) -> Result<Form, QuantizationError> {
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

    pub(super) fn layer_shape(
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

    pub(super) fn add(
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
}

/// Whether every path from a tensor ends in a sign, with nothing but what keeps signs between.
pub(super) fn only_signs_follow(graph: &Graph, tensor: TensorId) -> bool {
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
