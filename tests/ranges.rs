//! Ranges, grids and codebooks on the embedded network: what each method makes of it, and what it
//! makes of strange weights and images.

use std::collections::BTreeSet;

use haq::{
    data::{Card, DataSource, DataSpec, Overrides, Preprocessing, SplitLimits, Splits},
    domain::{Bits, BitwidthPolicy, LayerBits, Operand},
    network::{Array, Executable, Graph, Op, TensorId},
    quantization::{
        EvaluationSettings, Evaluator, Granularity, Method, QuantizationError, Quantizer,
        RangeRule, SingleRoundings, WeightLevels, activation_grid,
    },
    search::Model,
};
use tch::{Device, Kind, Tensor};

fn width(bits: u8) -> Bits {
    Bits::new(bits).unwrap()
}

fn pair(weight: u8, activation: u8) -> LayerBits {
    LayerBits::new(width(weight), width(activation))
}

/// All methods but those that learn, which take longer and start from one of these.
fn methods() -> impl Iterator<Item = (&'static str, Method)> {
    let named = Method::named().filter(|(_, method, _)| method.reconstruction.is_none());
    named.map(|(name, method, _)| (name, method))
}

fn images(n: usize) -> Tensor {
    let model = Model::load(None).unwrap();
    let preprocessing: Preprocessing =
        Card::resolve(model.card.as_ref(), &Overrides::default()).unwrap();
    let limits = SplitLimits { calibration: Some(n), search: Some(1), test: Some(1) };
    let spec = DataSpec { source: DataSource::Embedded, preprocessing, seed: 1, limits };
    let splits = Splits::load(&spec, &model.graph.input_shape().unwrap(), None).unwrap();
    splits.calibration.to_tensor()
}

fn graph() -> Graph {
    Model::load(None).unwrap().graph
}

fn quantizer(name: &str, images: &Tensor) -> Quantizer {
    Quantizer::calibrate(graph(), images, name.parse().unwrap()).unwrap()
}

fn uniform(quantizer: &Quantizer, bits: LayerBits) -> BitwidthPolicy {
    BitwidthPolicy::uniform(quantizer.layers().len(), bits)
}

fn run(graph: &Graph, images: &Tensor) -> Tensor {
    Executable::new(graph, Device::Cpu).unwrap().run(images).unwrap()
}

fn is_finite(outputs: &Tensor) -> bool {
    outputs.isfinite().all().int64_value(&[]) == 1
}

fn n_values(values: &[f32]) -> usize {
    values.iter().map(|x| (x + 0.0).to_bits()).collect::<BTreeSet<_>>().len()
}

/// Divergence from the float network, in nats.
fn kl(quantizer: &Quantizer, images: &Tensor, bits: LayerBits) -> f64 {
    let settings = EvaluationSettings { threads: 1, ..Default::default() };
    let evaluator = Evaluator::new(quantizer.graph(), images, None, settings).unwrap();
    let graph = quantizer.apply(&uniform(quantizer, bits)).unwrap();
    evaluator.evaluate(&graph).unwrap().quality.kl.unwrap()
}

#[test]
fn no_method_uses_more_levels_than_bits_allow() {
    let images = images(8);
    for (name, method) in methods() {
        let quantizer = quantizer(name, &images);
        for bits in [1u8, 2, 4, 8] {
            for layer in 0..quantizer.layers().len() {
                let rounded = quantizer.rounded(layer, width(bits)).unwrap();
                let shared = method.weight_levels == WeightLevels::Codebook
                    || method.granularity == Granularity::Tensor;
                let n_rows = if shared { 1 } else { rounded.grids.len() };
                let rows = rounded.values.chunks(rounded.values.len() / n_rows);
                let most = |row: usize| match method.granularity {
                    Granularity::AllocatedChannel => 1 << rounded.grids[row].bits().get(),
                    _ => 1 << bits,
                };
                for (index, row) in rows.enumerate() {
                    assert!(n_values(row) <= most(index), "{name}: layer {layer} at {bits} bits");
                }
            }
            let graph = quantizer.apply(&uniform(&quantizer, pair(bits, bits))).unwrap();
            assert!(is_finite(&run(&graph, &images)), "{name} at {bits} bits");
        }
    }
}

#[test]
fn eight_bits_are_nearly_float_by_every_method_and_fewer_lose_more() {
    let images = images(50);
    for (name, _) in methods() {
        let quantizer = quantizer(name, &images);
        let [eight, four, two] = [8, 4, 2].map(|bits| kl(&quantizer, &images, pair(bits, bits)));
        assert!(eight < 0.02, "{name}: {eight}");
        assert!(eight < four && four < two, "{name}: {eight} {four} {two}");
    }
}

#[test]
fn finer_grids_lose_less() {
    let images = images(100);
    let of = |name: &str, bits| kl(&quantizer(name, &images), &images, bits);
    let weights_only = pair(3, 8);
    let (channel, tensor) = (of("mse", weights_only), of("per-tensor", weights_only));
    assert!(channel < tensor, "{channel} {tensor}");
    let (codebook, haq) = (of("codebook", weights_only), of("haq", weights_only));
    assert!(codebook < haq, "{codebook} {haq}");
}

#[test]
fn a_dynamic_range_is_that_of_the_batch_it_rounds() {
    let images = images(60);
    for name in ["dynamic", "dynamic-row"] {
        let quantizer = quantizer(name, &images);
        let graph = quantizer.apply(&uniform(&quantizer, pair(8, 3))).unwrap();
        let written = graph.to_onnx().unwrap_err().to_string();
        assert!(written.contains("DynamicQuantize"), "no ONNX operation rounds so: {written}");
        for batch in [images.narrow(0, 0, 7), images.narrow(0, 20, 30)] {
            let mut checked = [0; 2];
            for node in graph.nodes() {
                let Op::DynamicQuantize { bits, per_row } = node.op else { continue };
                assert_eq!(bits, 3);
                let seen = observe(&graph, &[node.input(0).unwrap(), node.output], &batch);
                let row = *seen[0].size().last().unwrap() as usize;
                let [before, after] = [&seen[0], &seen[1]]
                    .map(|x| Vec::<f32>::try_from(x.contiguous().view(-1)).unwrap());
                let share = if per_row { row } else { before.len() };
                for (before, after) in before.chunks(share).zip(after.chunks(share)) {
                    let end =
                        |choose: fn(f32, f32) -> f32| before.iter().copied().fold(0.0, choose);
                    let grid = activation_grid(width(3), end(f32::min), end(f32::max));
                    for (x, rounded) in before.iter().zip(after) {
                        assert_eq!(grid.round(*x), *rounded, "{name}: {grid:?}");
                    }
                }
                checked[usize::from(per_row)] += 1;
            }
            assert!(checked[0] > 0, "convolutions read whole tensors");
            assert_eq!(checked[1] > 0, name == "dynamic-row", "a linear layer reads rows");
        }
    }
}

/// Every image's values of some tensors.
fn observe(graph: &Graph, tensors: &[TensorId], images: &Tensor) -> Vec<Tensor> {
    let executable = Executable::new(graph, Device::Cpu).unwrap();
    let mut seen: Vec<Option<Tensor>> = tensors.iter().map(|_| None).collect();
    executable
        .run_observed(images, tensors, &mut |tensor, values| {
            let position = tensors.iter().position(|known| *known == tensor).unwrap();
            seen[position] = Some(values.copy());
        })
        .unwrap();
    seen.into_iter().map(|values| values.expect("the tensor is computed")).collect()
}

#[test]
fn a_codebook_leaves_activations_alone() {
    let images = images(10);
    let quantizer = quantizer("codebook", &images);
    let graph = quantizer.apply(&uniform(&quantizer, pair(2, 2))).unwrap();
    assert!(graph.nodes().iter().all(|node| !node.op.rounds()));
    assert_eq!(quantizer.activation_noise(0, width(2)), 0.0);
    let mut alone = SingleRoundings::new(&quantizer);
    assert!(alone.at(0, Operand::Weight, width(2)).is_ok());
    let error = alone.at(0, Operand::Activation, width(2)).unwrap_err().to_string();
    assert!(error.contains(&quantizer.layers()[0].name), "{error}");
    for layer in 0..quantizer.layers().len() {
        let rounded = quantizer.rounded(layer, width(2)).unwrap();
        assert!(rounded.codebook.len() <= 4 && rounded.grids.is_empty());
        assert!(rounded.values.iter().all(|weight| rounded.codebook.contains(weight)));
    }
}

#[test]
fn channels_share_out_exactly_the_bits_of_their_layer() {
    let images = images(10);
    let quantizer = quantizer("aciq-allocated", &images);
    let mut uneven = 0;
    for layer in 0..quantizer.layers().len() {
        for bits in 1..=8 {
            let grids = &quantizer.rounded(layer, width(bits)).unwrap().grids;
            let of_channel = |grid: &haq::quantization::WeightGrid| {
                let (low, high) = grid.code_range();
                if low == high { 0 } else { usize::from(grid.bits().get()) }
            };
            let all: Vec<usize> = grids.iter().map(of_channel).collect();
            assert_eq!(all.iter().sum::<usize>(), usize::from(bits) * all.len());
            let equal = all.iter().all(|&own| own == usize::from(bits));
            assert!(bits <= 4 || equal, "above 4 bits nothing is shared out");
            uneven += usize::from(!equal);
        }
    }
    assert!(uneven > 0);
}

#[test]
fn what_decodes_weights_is_counted_in_their_size() {
    let images = images(4);
    let bits = pair(3, 8);
    // Bytes beside the codes: for a layer of so many channels and weights.
    let beside = |name: &str, channels: usize, weights: usize| match name {
        "per-tensor" | "haq" => 4,
        "affine" => 5 * channels,
        "aciq" | "aciq-finite" => 8 * channels,
        "aciq-allocated" => 9 * channels,
        "codebook" => 4 * weights.min(8),
        _ => 4 * channels,
    };
    for (name, _) in methods() {
        let quantizer = quantizer(name, &images);
        let found = quantizer.stored_bytes(&uniform(&quantizer, bits)).unwrap();
        let expected: usize = quantizer
            .layers()
            .iter()
            .map(|layer| {
                let shape = quantizer.graph().constant(layer.weight).unwrap().shape();
                let weights = shape.iter().product::<usize>();
                (weights * 3).div_ceil(8) + beside(name, shape[layer.output_axis], weights)
            })
            .sum();
        assert_eq!(found, expected as u64, "{name}");
    }
    let short = BitwidthPolicy::uniform(1, bits);
    assert!(quantizer("mse", &images).stored_bytes(&short).is_err());
}

#[test]
fn bias_correction_without_rounded_activations_is_that_of_the_weights() {
    let images = images(50);
    let codebook: Method = "codebook".parse().unwrap();
    let method = Method { bias_correction: true, ..codebook };
    let quantizer = Quantizer::calibrate(graph(), &images, method).unwrap();
    let output = quantizer.layers()[0].output;
    let mean = |graph: &Graph| {
        let seen = observe(graph, &[output], &images).swap_remove(0);
        seen.mean_dim([0, 2, 3].as_slice(), false, Kind::Double)
    };
    let rounded = quantizer.apply(&uniform(&quantizer, pair(1, 1))).unwrap();
    let moved = (mean(&rounded) - mean(quantizer.graph())).abs().max().double_value(&[]);
    assert!(moved < 1e-4, "{moved}");
}

/// The embedded network with one layer's weights changed.
fn with_weights(layer_index: usize, change: impl Fn(usize, f32) -> f32) -> Graph {
    let model = Model::load(None).unwrap();
    let weight = model.layers[layer_index].weight;
    let array = model.graph.constant(weight).unwrap();
    let values: Vec<f32> =
        array.as_f32().unwrap().iter().enumerate().map(|(i, &w)| change(i, w)).collect();
    let array = Array::f32(array.shape().to_vec(), values);
    model.graph.clone().with_constant(weight, array)
}

#[test]
fn strange_weights_have_a_defined_result_by_every_method() {
    let images = images(2);
    let per_channel = |graph: &Graph| {
        let layer = &graph.quantizable_layers()[1];
        graph.constant(layer.weight).unwrap().shape()[1..].iter().product::<usize>()
    };
    let n = per_channel(&graph());
    for (case, graph) in [
        ("zeros", with_weights(1, |_, _| 0.0)),
        ("a channel of zeros", with_weights(1, |i, w| if i < n { 0.0 } else { w })),
        ("a constant channel", with_weights(1, |i, w| if i < n { 0.25 } else { w })),
        ("all constant", with_weights(1, |_, _| -0.5)),
        ("one outlier", with_weights(1, |i, w| if i == 3 { 1e4 } else { w })),
        ("tiny", with_weights(1, |_, w| w * 1e-30)),
    ] {
        for (name, method) in methods() {
            let quantizer = Quantizer::calibrate(graph.clone(), &images, method)
                .unwrap_or_else(|error| panic!("{name}, {case}: {error}"));
            for bits in [1, 3] {
                let rounded = quantizer.apply(&uniform(&quantizer, pair(bits, bits))).unwrap();
                let outputs = run(&rounded, &images);
                assert!(is_finite(&outputs), "{name}, {case} at {bits} bits");
            }
        }
    }
}

#[test]
fn strange_images_have_a_defined_result_by_every_method() {
    let some = images(2);
    let of = |fill: f64| Tensor::full([1, 1, 8, 8], fill, (Kind::Float, Device::Cpu));
    for (case, calibration) in [
        ("one image", some.narrow(0, 0, 1)),
        ("a black image", of(0.0)),
        ("a constant image", of(1.0)),
        ("far too bright", &some * 1000.0),
        ("negatives", -&some - 5.0),
        ("hardly anything", &some * 1e-35),
    ] {
        for (name, method) in methods() {
            let quantizer = Quantizer::calibrate(graph(), &calibration, method)
                .unwrap_or_else(|error| panic!("{name}, {case}: {error}"));
            for bits in [1, 2] {
                let rounded = quantizer.apply(&uniform(&quantizer, pair(bits, bits))).unwrap();
                assert!(is_finite(&run(&rounded, &some)), "{name}, {case} at {bits} bits");
            }
        }
    }
}

#[test]
fn what_is_no_number_or_too_large_is_named_by_every_method() {
    let some = images(3);
    let layer = Model::load(None).unwrap().layers[1].name.clone();
    for (name, method) in methods() {
        for (case, value, expected) in [
            ("NaN", f32::NAN, "weight 5 is NaN"),
            ("infinity", f32::NEG_INFINITY, "weight 5 is -inf"),
            ("too large", 1e20, "too large"),
        ] {
            let graph = with_weights(1, |i, w| if i == 5 { value } else { w });
            let made = Quantizer::calibrate(graph, &some, method);
            if method.preparation.is_some() {
                // Preparation refuses or repairs it in its own way.
                continue;
            }
            let error = made.err().unwrap_or_else(|| panic!("{name}: {case} was accepted"));
            let error = error.to_string();
            assert!(error.contains(expected) && error.contains(&layer), "{name}, {case}: {error}");
        }
        for (case, images) in [
            ("NaN", &some * f64::NAN),
            ("infinity", &some + f64::INFINITY),
            ("too large", &some * 1e20),
            ("beyond f32 inside", &some * 1e38),
            ("none", some.narrow(0, 0, 0)),
        ] {
            let error = Quantizer::calibrate(graph(), &images, method).err();
            let error = error.unwrap_or_else(|| panic!("{name}: {case} was accepted"));
            let clear = matches!(
                error,
                QuantizationError::ActivationNotFinite { .. }
                    | QuantizationError::ActivationTooLarge { .. }
                    | QuantizationError::NoImages
            );
            assert!(clear, "{name}, {case}: {error}");
        }
        let quantizer = Quantizer::calibrate(graph(), &some, method).unwrap();
        for bits in [pair(9, 8), pair(8, 16)] {
            let error = quantizer.apply(&uniform(&quantizer, bits)).unwrap_err();
            assert!(matches!(error, QuantizationError::Bits { .. }), "{name}: {error}");
        }
        assert!(quantizer.rounded(0, width(9)).is_err(), "{name}");
    }
    assert!(Bits::new(0).is_none() && Bits::new(17).is_none());
}

#[test]
fn recipes_that_contradict_themselves_are_refused() {
    let images = images(5);
    let method = Method { activation_range: RangeRule::Ema(2.0), ..Method::default() };
    let error = Quantizer::calibrate(graph(), &images, method).err().unwrap();
    assert!(error.to_string().contains("moving average"), "{error}");
}
