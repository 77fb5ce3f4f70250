//! The float network that rounds where the integers do, in double precision.
//!
//! Only roundings can part the two. A network of few bits multiplies a difference of one code
//! from layer to layer, so they are done as the fixed-point rules do them: to the digits behind
//! the point that the high product leaves, then to whole codes with ties away from zero.

use std::collections::BTreeMap;

use tch::{Kind, TchError, Tensor};

use super::layer::ExactConstant;
use crate::{
    network::{Executable, Graph, Grid, NetworkError, Node, Op, TensorId},
    quantization::integer::fixed_point::FRACTION_BITS,
};

/// A float network and what it needs to follow integers closely.
#[derive(Debug)]
pub(super) struct Reference {
    pub graph: Graph,
    pub exact: Vec<(TensorId, ExactConstant)>,
    /// By what a node writes.
    pub roundings: BTreeMap<TensorId, TwoStepRounding>,
}

/// A rounding that the fixed-point rules do in two steps.
#[derive(Debug, Clone, Copy)]
pub(super) enum TwoStepRounding {
    /// Sums to codes; the number that stands for one code, as the multiplier has it.
    Codes { divisor: f64 },
    /// Both operands of an addition to this unit.
    Operands { unit: f64 },
}

impl Reference {
    /// The network ready to run, its constants exact.
    pub fn executable(&self) -> Result<Executable, NetworkError> {
        let mut executable = Executable::in_double(&self.graph)?;
        for (tensor, constant) in &self.exact {
            let shape: Vec<i64> = constant.shape.iter().map(|&n| n as i64).collect();
            let value = Tensor::from_slice(&constant.numbers).view(shape.as_slice());
            executable = executable.with_constant(*tensor, value);
        }
        Ok(executable)
    }

    /// Outputs of a batch, f32.
    pub fn run(&self, executable: &Executable, images: &Tensor) -> Result<Tensor, NetworkError> {
        let _no_grad = tch::no_grad_guard();
        let fed = [(self.graph.input()?.tensor, images)];
        let mut replace = |node: &Node, inputs: &[Option<&Tensor>]| self.replaced(node, inputs);
        let outputs = executable.run_recorded(&fed, &[self.graph.output()?], &mut replace)?;
        Ok(outputs[0].to_kind(Kind::Float))
    }

    fn replaced(
        &self,
        node: &Node,
        inputs: &[Option<&Tensor>],
    ) -> Result<Option<Tensor>, TchError> {
        let both = (inputs.first().copied().flatten(), inputs.get(1).copied().flatten());
        match (self.roundings.get(&node.output), &node.op, both) {
            (Some(TwoStepRounding::Codes { divisor }), Op::FakeQuantize(grid), (Some(x), _)) => {
                round_twice(x, grid, *divisor).map(Some)
            }
            (Some(TwoStepRounding::Operands { unit }), op, (Some(a), Some(b))) => {
                let whole = |x: &Tensor| x.f_div_scalar(*unit)?.f_round_();
                let (mut a, b) = (whole(a)?, whole(b)?);
                let sum = if *op == Op::Sub { a.f_sub_(&b)? } else { a.f_add_(&b)? };
                sum.f_mul_scalar(*unit).map(Some)
            }
            _ => Ok(None),
        }
    }
}

fn round_twice(x: &Tensor, grid: &Grid, divisor: f64) -> Result<Tensor, TchError> {
    let fine = f64::from(FRACTION_BITS).exp2();
    let zero_point = f64::from(grid.zero_point);
    let signed = x.f_mul_scalar(fine / divisor)?.f_round_()?.f_div_scalar_(fine)?;
    let sign = signed.f_sign()?;
    let mut code = signed.f_abs()?.f_add_scalar_(0.5)?.f_floor_()?.f_mul_(&sign)?;
    code = code.f_add_scalar_(zero_point)?;
    code = code.f_clamp_(f64::from(grid.low), f64::from(grid.high))?;
    code.f_sub_scalar_(zero_point)?.f_mul_scalar_(f64::from(grid.scale))
}
