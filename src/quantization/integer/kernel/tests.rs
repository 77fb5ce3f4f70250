use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

/// The definition, in 64 bits, one output at a time; channels last.
fn naive(s: &ConvolutionShape, image: &[u8], weights: &[i8], bias: &[i32], zero: i32) -> Vec<i64> {
    let [rows, columns] = s.output().unwrap();
    let (ins, outs) = (s.in_channels / s.groups, s.out_channels / s.groups);
    let mut all = vec![];
    for (y, x, o) in (0..rows)
        .flat_map(|y| (0..columns).flat_map(move |x| (0..s.out_channels).map(move |o| (y, x, o))))
    {
        let mut sum = i64::from(bias[o]);
        for (c, ky, kx) in (0..ins).flat_map(|c| {
            (0..s.kernel[0]).flat_map(move |y| (0..s.kernel[1]).map(move |x| (c, y, x)))
        }) {
            let iy = (y * s.stride[0] + ky * s.dilation[0]) as i64 - s.pad_begin[0] as i64;
            let ix = (x * s.stride[1] + kx * s.dilation[1]) as i64 - s.pad_begin[1] as i64;
            if iy < 0 || ix < 0 || iy >= s.input[0] as i64 || ix >= s.input[1] as i64 {
                continue;
            }
            let channel = o / outs * ins + c;
            let at = (iy as usize * s.input[1] + ix as usize) * s.in_channels + channel;
            let weight = weights[((o * ins + c) * s.kernel[0] + ky) * s.kernel[1] + kx];
            sum += i64::from(weight) * (i64::from(image[at]) - i64::from(zero));
        }
        all.push(sum);
    }
    all
}

fn pair(range: std::ops::Range<usize>) -> impl Strategy<Value = [usize; 2]> {
    [range.clone(), range]
}

prop_compose! {
    fn shapes()(
        per_group in 1usize..6, out_per_group in 1usize..4, groups in 1usize..4,
        many in prop_oneof![Just(1usize), Just(17)],
        input in pair(5..9), kernel in pair(1..4), stride in pair(1..4),
        pad_begin in pair(0..3), pad_end in pair(0..3), dilation in pair(1..3),
        depthwise: bool,
    ) -> ConvolutionShape {
        let (per_group, out_per_group, groups) =
            if depthwise { (1, 1, groups * many) } else { (per_group, out_per_group * many, groups) };
        ConvolutionShape {
            in_channels: per_group * groups,
            out_channels: out_per_group * groups,
            input, kernel, stride, pad_begin, pad_end, dilation, groups,
        }
    }
}

fn bits(bits: u8) -> Bits {
    Bits::new(bits).unwrap()
}

/// Weights, bias and an image drawn evenly.
fn draw(
    shape: &ConvolutionShape,
    weight_bits: u8,
    codes: CodeRange,
    seed: u64,
) -> (Vec<i8>, Vec<i32>, Vec<u8>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (low, high) = crate::quantization::WeightGrid::codes(bits(weight_bits));
    let mut weights = vec![0i8; shape.out_channels * shape.reduction()];
    weights.fill_with(|| match weight_bits {
        1 => {
            if rng.random() {
                1
            } else {
                -1
            }
        }
        _ => rng.random_range(low..=high) as i8,
    });
    let bias = (0..shape.out_channels).map(|_| rng.random_range(-100_000..100_000)).collect();
    let mut image = vec![0u8; shape.in_channels * shape.input[0] * shape.input[1]];
    image.fill_with(|| match codes.signs {
        true => 2 * u8::from(rng.random::<bool>()),
        false => rng.random_range(0..=codes.high),
    });
    (weights, bias, image)
}

fn run(convolution: &Convolution, image: &[u8]) -> Result<Vec<i64>, IntegerError> {
    let mut accumulators = vec![];
    convolution.run(image, &mut ConvolutionScratch::default(), &mut accumulators)?;
    Ok(accumulators.into_iter().map(i64::from).collect())
}

proptest! {
    #[test]
    fn every_kernel_is_the_definition_in_64_bits(
        shape in shapes(), seed: u64, weight_bits in 1u8..=8, image_bits in 1u32..=8, zero: u8,
    ) {
        let high = ((1u32 << image_bits) - 1) as u8;
        let zero_point = i32::from(zero) % (i32::from(high) + 1);
        let codes = CodeRange::unsigned(zero_point, high);
        let (weights, bias, image) = draw(&shape, weight_bits, codes, seed);
        let expected = naive(&shape, &image, &weights, &bias, zero_point);
        for kernel in [Kernel::Int8, Kernel::BitPlanes] {
            let convolution =
                Convolution::new(shape, &weights, bits(weight_bits), bias.clone(), codes, kernel);
            prop_assert_eq!(&run(&convolution.unwrap(), &image).unwrap(), &expected);
        }
    }

    #[test]
    fn signs_are_counted_as_they_are_multiplied(shape in shapes(), seed: u64) {
        let codes = CodeRange::SIGNS;
        let (weights, bias, image) = draw(&shape, 1, codes, seed);
        let expected = naive(&shape, &image, &weights, &bias, 1);
        for kernel in [Kernel::Int8, Kernel::BitPlanes, Kernel::Xnor] {
            let convolution =
                Convolution::new(shape, &weights, bits(1), bias.clone(), codes, kernel).unwrap();
            prop_assert_eq!(&run(&convolution, &image).unwrap(), &expected);
        }
    }

    #[test]
    fn no_accumulator_passes_its_reach(shape in shapes(), seed: u64, highest: bool) {
        let codes = CodeRange::unsigned(7, 255);
        let (weights, bias, mut image) = draw(&shape, 8, codes, seed);
        if highest {
            image.fill(255);
        }
        let made = Convolution::new(shape, &weights, bits(8), bias, codes, Kernel::Int8).unwrap();
        let accumulators = run(&made, &image).unwrap();
        for (sum, reach) in accumulators.iter().zip(made.reach().iter().cycle()) {
            prop_assert!(sum.abs() <= *reach);
        }
    }
}

#[test]
fn a_reduction_that_32_bits_do_not_hold_is_refused() {
    let codes = CodeRange::unsigned(0, 255);
    let made = |weights: &[i8], bias| {
        let shape = ConvolutionShape::linear(1, weights.len(), 1);
        Convolution::new(shape, weights, bits(8), vec![bias], codes, Kernel::Int8)
    };
    // 65,793 * 128 * 255 is the last below 2^31.
    for (length, fits) in [(65_793, true), (65_794, false)] {
        assert_eq!(made(&vec![-128; length], 0).is_ok(), fits, "{length}");
    }
    assert!(matches!(made(&[1], i32::MAX), Err(IntegerError::Accumulator { .. })));
}

#[test]
fn what_does_not_fit_is_refused() {
    let codes = CodeRange::unsigned(0, 15);
    let made = |shape, weights: &[i8], kernel| {
        Convolution::new(shape, weights, bits(2), vec![0], codes, kernel)
    };
    let pointwise = |channels| ConvolutionShape::linear(1, channels, 1);
    assert!(matches!(
        made(pointwise(2), &[1], Kernel::Int8),
        Err(IntegerError::Length { what: "weights", found: 1, expected: 2 })
    ));
    let large = ConvolutionShape { kernel: [2, 1], ..pointwise(1) };
    assert!(matches!(made(large, &[1, 1], Kernel::Int8), Err(IntegerError::Shape(_))));
    let split = ConvolutionShape { groups: 2, ..pointwise(3) };
    assert!(matches!(made(split, &[1], Kernel::Int8), Err(IntegerError::Shape(_))));
    let wide = made(pointwise(2), &[1, 2], Kernel::Int8);
    assert!(matches!(wide, Err(IntegerError::Code { index: 1, code: 2, .. })));
    assert!(matches!(made(pointwise(1), &[1], Kernel::Xnor), Err(IntegerError::Shape(_))));
    let convolution = made(pointwise(2), &[1, 1], Kernel::Int8).unwrap();
    assert!(matches!(run(&convolution, &[0]), Err(IntegerError::Length { .. })));
    assert!(matches!(run(&convolution, &[0, 16]), Err(IntegerError::Code { code: 16, .. })));
    let signs =
        Convolution::new(pointwise(2), &[1, -1], bits(1), vec![0], CodeRange::SIGNS, Kernel::Xnor);
    let border = run(&signs.unwrap(), &[0, 1]);
    assert!(matches!(border, Err(IntegerError::Code { index: 1, code: 1, .. })));
}
