//! One pass over memory for add, clip and round: what fake quantization costs beside the
//! float network. Plain loops that the compiler turns into vector instructions.

use rayon::prelude::*;
use tch::{Device, Kind, TchError, Tensor};

use super::apply::apply;
use crate::network::{attributes::Grid, ops::Op};

/// What happens to each number: clipped first, then rounded to a grid.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Pass {
    clip: Option<(f32, f32)>,
    grid: Option<Grid>,
}

impl Pass {
    /// This pass followed by one more operation, when one pass can do both.
    pub fn then(self, op: &Op) -> Option<Self> {
        match (op, self) {
            (Op::Relu, Pass { clip: None, grid: None }) => {
                Some(Pass { clip: Some((0.0, f32::INFINITY)), grid: None })
            }
            (Op::Clip { low, high }, Pass { clip: None, grid: None }) => {
                Some(Pass { clip: Some((*low, *high)), grid: None })
            }
            (Op::FakeQuantize(grid), Pass { clip, grid: None }) => {
                Some(Pass { clip: clip.filter(|clip| !absorbs(grid, *clip)), grid: Some(*grid) })
            }
            _ => None,
        }
    }

    /// The same by libtorch's operations, for tensors that the loops can not work on.
    pub fn by_operations(
        &self,
        tensor: &Tensor,
        addend: Option<&Tensor>,
    ) -> Result<Tensor, TchError> {
        let mut output = match addend {
            Some(addend) => tensor.f_add(addend)?,
            None => tensor.shallow_clone(),
        };
        let clip = self.clip.map(|(low, high)| Op::Clip { low, high });
        for op in clip.into_iter().chain(self.grid.map(Op::FakeQuantize)) {
            output = apply(&op, &[Some(&output)])?;
        }
        Ok(output)
    }

    /// Replaces every number of `tensor`, `addend` added first.
    ///
    /// Returns false, with nothing changed, when the tensors are not whole pieces of f32
    /// memory of the same layout on the processor.
    pub fn overwrite(&self, tensor: &mut Tensor, addend: Option<&Tensor>) -> bool {
        if !is_plain(tensor) || addend.is_some_and(|addend| !same_layout(tensor, addend)) {
            return false;
        }
        let addend = addend.map(numbers);
        let numbers = numbers_mut(tensor);
        split(numbers, None, addend, self);
        true
    }

    /// Like [`Pass::overwrite`], into new memory; `None` when the loops can not work on it.
    pub fn compute(&self, tensor: &Tensor, addend: Option<&Tensor>) -> Option<Tensor> {
        if !is_plain(tensor) || addend.is_some_and(|addend| !same_layout(tensor, addend)) {
            return None;
        }
        let mut output = tensor.f_empty_like().ok()?;
        if !same_layout(tensor, &output) {
            return None;
        }
        split(numbers_mut(&mut output), Some(numbers(tensor)), addend.map(numbers), self);
        Some(output)
    }
}

/// Whether rounding to the grid alone gives the same as clipping first.
///
/// It does when the bounds of the clip already lie at or beyond the ends of the grid, as for
/// ReLU before an unsigned grid.
fn absorbs(grid: &Grid, (low, high): (f32, f32)) -> bool {
    let on_grid = |x: f32| (x / grid.scale).round_ties_even() + grid.zero_point as f32;
    low <= high && on_grid(low) <= grid.low as f32 && on_grid(high) >= grid.high as f32
}

/// Whether a tensor is one gapless piece of f32 memory on the processor.
fn is_plain(tensor: &Tensor) -> bool {
    tensor.device() == Device::Cpu
        && tensor.kind() == Kind::Float
        && is_dense(&tensor.size(), &tensor.stride())
}

/// Whether the numbers fill memory without gap or overlap, in whatever order of axes.
fn is_dense(sizes: &[i64], strides: &[i64]) -> bool {
    let mut axes: Vec<(i64, i64)> =
        strides.iter().copied().zip(sizes.iter().copied()).filter(|(_, n)| *n != 1).collect();
    axes.sort_unstable();
    let mut expected = 1;
    axes.iter().all(|&(stride, n)| {
        let fits = stride == expected;
        expected *= n;
        fits
    })
}

/// Whether numbers at one position of memory belong to one index in both tensors.
fn same_layout(a: &Tensor, b: &Tensor) -> bool {
    let (sizes, strides) = (a.size(), (a.stride(), b.stride()));
    let equal = |axis: usize| sizes[axis] == 1 || strides.0[axis] == strides.1[axis];
    sizes == b.size() && is_plain(b) && (0..sizes.len()).all(equal)
}

/// The memory of a tensor that [`is_plain`].
fn numbers(tensor: &Tensor) -> &[f32] {
    let n = tensor.numel();
    if n == 0 {
        return &[];
    }
    // SAFETY: `is_plain` said that the tensor is `n` f32 numbers in one gapless piece of
    // processor memory, whose first is at `data_ptr`; the tensor keeps it alive for the
    // lifetime of the borrow, and nothing writes to it meanwhile, see `numbers_mut`.
    unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast::<f32>().cast_const(), n) }
}

/// The memory of a tensor that [`is_plain`], to be written.
fn numbers_mut(tensor: &mut Tensor) -> &mut [f32] {
    let n = tensor.numel();
    if n == 0 {
        return &mut [];
    }
    // SAFETY: as in `numbers`. No other tensor uses the memory while the slice lives: the
    // plan only overwrites memory whose every other view is dead, and a tensor that was just
    // allocated has none.
    unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast::<f32>(), n) }
}

/// Numbers that one thread takes at a time; large enough to hide the hand-over.
const CHUNK: usize = 1 << 16;

/// Runs the pass over one or several threads, as libtorch is told to.
fn split(output: &mut [f32], input: Option<&[f32]>, addend: Option<&[f32]>, pass: &Pass) {
    if tch::get_num_threads() <= 1 || output.len() <= CHUNK {
        return sweep(output, input, addend, pass);
    }
    output.par_chunks_mut(CHUNK).enumerate().for_each(|(index, output)| {
        let range = index * CHUNK..index * CHUNK + output.len();
        sweep(output, input.map(|x| &x[range.clone()]), addend.map(|x| &x[range.clone()]), pass);
    });
}

/// The pass over one stretch of memory, with the widest instructions the processor has.
fn sweep(output: &mut [f32], input: Option<&[f32]>, addend: Option<&[f32]>, pass: &Pass) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { sweep_avx2(output, input, addend, pass) };
    }
    sweep_plain(output, input, addend, pass);
}

/// The same loops, compiled for AVX2. Results are equal: each number is divided, rounded and
/// clamped by itself.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sweep_avx2(output: &mut [f32], input: Option<&[f32]>, addend: Option<&[f32]>, pass: &Pass) {
    sweep_plain(output, input, addend, pass);
}

#[inline(always)]
fn sweep_plain(output: &mut [f32], input: Option<&[f32]>, addend: Option<&[f32]>, pass: &Pass) {
    let clip = |x: f32, (low, high): (f32, f32)| {
        let x = if x < low { low } else { x };
        if x > high { high } else { x }
    };
    match (pass.clip, pass.grid) {
        (None, None) => each(output, input, addend, |x| x),
        (Some(bounds), None) => each(output, input, addend, |x| clip(x, bounds)),
        (None, Some(grid)) => each(output, input, addend, |x| grid.round(x)),
        (Some(bounds), Some(grid)) => each(output, input, addend, |x| grid.round(clip(x, bounds))),
    }
}

#[inline(always)]
fn each(output: &mut [f32], input: Option<&[f32]>, addend: Option<&[f32]>, f: impl Fn(f32) -> f32) {
    match (input, addend) {
        (None, None) => output.iter_mut().for_each(|y| *y = f(*y)),
        (None, Some(b)) => output.iter_mut().zip(b).for_each(|(y, b)| *y = f(*y + b)),
        (Some(a), None) => output.iter_mut().zip(a).for_each(|(y, a)| *y = f(*a)),
        (Some(a), Some(b)) => {
            output.iter_mut().zip(a).zip(b).for_each(|((y, a), b)| *y = f(a + b));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn passes() -> impl Strategy<Value = Pass> {
        let clip = prop_oneof![
            Just(None),
            Just(Some((0.0, f32::INFINITY))),
            (-4f32..0.0, 0f32..6.0).prop_map(Some),
        ];
        let grid = (1e-3f32..1.0, 0i32..16, 1u32..9).prop_map(|(scale, zero_point, bits)| {
            let high = (1 << bits) - 1;
            Grid { scale, zero_point: zero_point.min(high), low: 0, high }
        });
        (clip, prop::option::of(grid)).prop_map(|(clip, grid)| Pass { clip, grid })
    }

    /// Numbers of every size, halves of the usual scales among them.
    fn values() -> impl Strategy<Value = Vec<f32>> {
        let value = prop_oneof![
            -8f32..8.0,
            (-40i32..40).prop_map(|n| n as f32 * 0.125),
            prop::num::f32::NORMAL | prop::num::f32::ZERO | prop::num::f32::INFINITE,
        ];
        prop::collection::vec(value, 48)
    }

    fn tensor(values: &[f32], channels_last: bool) -> Tensor {
        let flat = Tensor::from_slice(values);
        if channels_last {
            flat.reshape([2, 2, 4, 3]).permute([0, 3, 1, 2])
        } else {
            flat.reshape([2, 3, 2, 4])
        }
    }

    fn bits(tensor: &Tensor) -> Vec<u32> {
        let values = Vec::<f32>::try_from(tensor.contiguous().view([-1])).unwrap();
        // All zeros and all that is not a number are alike.
        values.iter().map(|x| if x.is_nan() { u32::MAX } else { (x + 0.0).to_bits() }).collect()
    }

    proptest! {
        #[test]
        fn loops_and_libtorch_agree_to_the_last_bit(
            pass in passes(), a in values(), b in values(), channels_last: bool, sum: bool
        ) {
            let (a, b) = (tensor(&a, channels_last), tensor(&b, channels_last));
            let b = sum.then_some(&b);
            let expected = bits(&pass.by_operations(&a, b).unwrap());
            prop_assert_eq!(&bits(&pass.compute(&a, b).unwrap()), &expected);
            let mut a = a.copy();
            prop_assert!(pass.overwrite(&mut a, b));
            prop_assert_eq!(&bits(&a), &expected);
        }

        #[test]
        fn a_clip_that_the_grid_absorbs_changes_nothing(
            low in -4f32..4.0, span in 0f32..6.0, scale in 1e-2f32..1.0, zero_point in 0i32..16,
            values in values()
        ) {
            let grid = Grid { scale, zero_point, low: 0, high: 15 };
            let clip = (low, low + span);
            let both = Pass { clip: Some(clip), grid: Some(grid) };
            let fused = Pass { clip: Some(clip), grid: None }.then(&Op::FakeQuantize(grid));
            let values = tensor(&values, false);
            let expected = both.by_operations(&values, None).unwrap();
            let found = fused.unwrap().compute(&values, None).unwrap();
            prop_assert_eq!(bits(&found), bits(&expected));
        }
    }

    #[test]
    fn relu_before_an_unsigned_grid_is_absorbed() {
        let grid = |zero_point| Grid { scale: 0.1, zero_point, low: 0, high: 15 };
        let relu = Pass::default().then(&Op::Relu).unwrap();
        assert_eq!(relu.then(&Op::FakeQuantize(grid(0))).unwrap().clip, None);
        assert!(relu.then(&Op::FakeQuantize(grid(3))).unwrap().clip.is_some());
    }

    #[test]
    fn memory_with_gaps_or_another_layout_is_refused() {
        let pass = Pass::default().then(&Op::Relu).unwrap();
        let whole = Tensor::zeros([2, 3, 4, 4], (Kind::Float, Device::Cpu));
        let last = whole.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
        for (name, tensor, addend, accepted) in [
            ("whole", whole.shallow_clone(), None, true),
            ("channels last", last.shallow_clone(), None, true),
            ("every other column", whole.slice(3, 0, 4, 2), None, false),
            ("one number repeated", whole.narrow(0, 0, 1).expand([2, 3, 4, 4], false), None, false),
            ("whole numbers", whole.to_kind(Kind::Int64), None, false),
            ("two layouts", whole.shallow_clone(), Some(&last), false),
            ("two shapes", whole.shallow_clone(), Some(&whole.narrow(0, 0, 1)), false),
        ] {
            assert_eq!(pass.compute(&tensor, addend).is_some(), accepted, "{name}");
        }
    }
}
