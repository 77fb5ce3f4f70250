//! Policies applied to the embedded network: what changes, what is kept, what is refused.

use haq::{
    data::{Card, DataSource, DataSpec, Overrides, Preprocessing, SplitLimits, Splits},
    domain::{Bits, BitwidthPolicy, LayerBits, Measure, Quality},
    network::{Arithmetic, Array, Executable, Graph, TensorId},
    quantization::{EvaluationSettings, Evaluator, Method, QuantizationError, Quantizer},
    search::Model,
};
use tch::{Device, Kind, Tensor};

fn bits(weight: u8, activation: u8) -> LayerBits {
    LayerBits::new(Bits::new(weight).unwrap(), Bits::new(activation).unwrap())
}

struct Setup {
    quantizer: Quantizer,
    calibration: Tensor,
    images: Tensor,
    labels: Vec<i64>,
}

fn splits(model: &Model) -> Splits {
    let preprocessing: Preprocessing =
        Card::resolve(model.card.as_ref(), &Overrides::default()).unwrap();
    let limits = SplitLimits { calibration: Some(200), search: Some(130), test: Some(1) };
    let spec = DataSpec { source: DataSource::Embedded, preprocessing, seed: 1, limits };
    Splits::load(&spec, &model.graph.input_shape().unwrap(), None).unwrap()
}

fn setup(method: &str) -> Setup {
    let model = Model::load(None).unwrap();
    let splits = splits(&model);
    let calibration = splits.calibration.to_tensor();
    let method: Method = method.parse().unwrap();
    Setup {
        quantizer: Quantizer::calibrate(model.graph, &calibration, method).unwrap(),
        calibration,
        images: splits.search.to_tensor(),
        labels: splits.search.labels().unwrap().to_vec(),
    }
}

fn uniform(setup: &Setup, pair: LayerBits) -> BitwidthPolicy {
    BitwidthPolicy::uniform(setup.quantizer.layers().len(), pair)
}

/// Every image's value of one tensor.
fn observe(graph: &Graph, tensor: TensorId, images: &Tensor) -> Tensor {
    let executable = Executable::new(graph, Device::Cpu).unwrap();
    let mut seen = None;
    executable.run_observed(images, &[tensor], &mut |_, value| seen = Some(value.copy())).unwrap();
    seen.expect("the tensor is computed")
}

#[test]
fn weights_take_at_most_as_many_values_as_the_bits_allow() {
    let setup = setup("gptq");
    for width in 1..=8u8 {
        let graph = setup.quantizer.apply(&uniform(&setup, bits(width, 8))).unwrap();
        for layer in setup.quantizer.layers() {
            let array = graph.constant(layer.weight).unwrap();
            let n_rows = array.shape()[0];
            for row in array.as_f32().unwrap().chunks(array.len() / n_rows) {
                let mut levels: Vec<u32> = row.iter().map(|w| (w + 0.0).to_bits()).collect();
                levels.sort_unstable();
                levels.dedup();
                assert!(levels.len() <= 1 << width, "{} at {width} bits", layer.name);
            }
        }
    }
}

#[test]
fn bias_correction_keeps_the_mean_output_of_every_channel() {
    for (method, kept) in [("mse-corrected", true), ("mse", false)] {
        let setup = setup(method);
        let first = &setup.quantizer.layers()[0];
        let graph = setup.quantizer.apply(&uniform(&setup, bits(2, 2))).unwrap();
        let mean = |graph: &Graph| {
            let output = observe(graph, first.output, &setup.calibration);
            output.mean_dim([0, 2, 3].as_slice(), false, Kind::Double)
        };
        let moved = (mean(&graph) - mean(setup.quantizer.graph())).abs().max().double_value(&[]);
        assert_eq!(moved < 1e-4, kept, "{method}: {moved}");
    }
}

#[test]
fn a_policy_is_the_same_network_whenever_it_is_applied() {
    let setup = setup("gptq");
    let policy = uniform(&setup, bits(3, 4));
    let first = setup.quantizer.apply(&policy).unwrap();
    setup.quantizer.apply(&uniform(&setup, bits(8, 2))).unwrap();
    assert_eq!(setup.quantizer.apply(&policy).unwrap(), first);
}

#[test]
fn quality_falls_with_the_bits_and_threads_change_nothing() {
    let setup = setup("gptq");
    let evaluator = |threads| {
        let settings = EvaluationSettings { threads, ..Default::default() };
        let graph = setup.quantizer.graph();
        Evaluator::new(graph, &setup.images, Some(&setup.labels), settings).unwrap()
    };
    let (one, three) = (evaluator(1), evaluator(3));
    assert_eq!(one.float().quality, three.float().quality);
    let divergence: Vec<f64> = [8, 6, 4, 3, 2]
        .iter()
        .map(|&width| {
            let graph = setup.quantizer.apply(&uniform(&setup, bits(width, width))).unwrap();
            let quality = one.evaluate(&graph).unwrap().quality;
            assert_eq!(quality, three.evaluate(&graph).unwrap().quality);
            quality.kl.unwrap()
        })
        .collect();
    assert!(divergence.windows(2).all(|pair| pair[0] < pair[1]), "{divergence:?}");
}

#[test]
fn blends_are_looked_at_for_divergence_and_nothing_else() {
    let setup = setup("gptq");
    let evaluator = |blends, threads| {
        let settings = EvaluationSettings { blends, threads, ..Default::default() };
        let graph = setup.quantizer.graph();
        Evaluator::new(graph, &setup.images, Some(&setup.labels), settings).unwrap()
    };
    let (plain, blended) = (evaluator(false, 1), evaluator(true, 1));
    assert_eq!(plain.float().quality, blended.float().quality);
    assert_eq!(plain.n_images(), blended.n_images());
    let graph = setup.quantizer.apply(&uniform(&setup, bits(4, 4))).unwrap();
    let (without, with) = (plain.evaluate(&graph).unwrap(), blended.evaluate(&graph).unwrap());
    let counted = |q: Quality| (q.top1, q.top5, q.loss, q.agreement);
    assert_eq!(counted(without.quality), counted(with.quality));
    // The network is less sure of blends than of images, and rounding moves it further.
    assert!(with.quality.kl.unwrap() > 1.2 * without.quality.kl.unwrap());
    assert_eq!(evaluator(true, 3).evaluate(&graph).unwrap().quality, with.quality);
    let few = blended.first_images(64);
    assert_eq!((few.n_images(), few.has_blends()), (64, true));
}

#[test]
fn codes_stand_for_floats_and_threads_change_nothing() {
    let setup = setup("gptq");
    let evaluator = |threads, arithmetic| {
        let settings = EvaluationSettings { threads, arithmetic, ..Default::default() };
        let graph = setup.quantizer.graph();
        Evaluator::new(graph, &setup.images, Some(&setup.labels), settings).unwrap()
    };
    let floats = evaluator(2, Arithmetic::Float);
    let (one, three) = (evaluator(1, Arithmetic::Codes), evaluator(3, Arithmetic::Codes));
    for (weight, activation) in [(8, 8), (4, 4), (2, 8), (1, 5)] {
        let graph = setup.quantizer.apply(&uniform(&setup, bits(weight, activation))).unwrap();
        let codes = one.evaluate(&graph).unwrap().quality;
        assert_eq!(codes, three.evaluate(&graph).unwrap().quality);
        let floats = floats.evaluate(&graph).unwrap().quality;
        let (a, b) = (codes.kl.unwrap(), floats.kl.unwrap());
        assert!((a - b).abs() <= 0.1 * b + 1e-4, "{weight}/{activation}: {a} {b}");
        let missed = (codes.top1.unwrap() - floats.top1.unwrap()).abs();
        assert!(missed <= 0.01, "{weight}/{activation}: {codes:?} {floats:?}");
        let verified = evaluator(1, Arithmetic::Codes).verified(&graph).unwrap();
        assert_eq!(verified.arithmetic(), Arithmetic::Codes);
    }
}

#[test]
fn a_network_without_codes_is_judged_in_floats() {
    let setup = setup("gptq");
    let settings = EvaluationSettings { arithmetic: Arithmetic::Codes, ..Default::default() };
    let float = setup.quantizer.graph();
    let evaluator = Evaluator::new(float, &setup.images, None, settings).unwrap();
    assert_eq!(evaluator.verified(float).unwrap().arithmetic(), Arithmetic::Float);
}

#[test]
fn a_race_stops_what_is_clearly_worse_and_gives_whole_figures_else() {
    let setup = setup("gptq");
    let graph = |pair| setup.quantizer.apply(&uniform(&setup, pair)).unwrap();
    let (good, bad) = (graph(bits(4, 4)), graph(bits(2, 2)));
    for (threads, blends) in [(1, false), (2, false), (3, true)] {
        let settings = EvaluationSettings { threads, blends, ..Default::default() };
        let float = setup.quantizer.graph();
        let evaluator =
            Evaluator::new(float, &setup.images, Some(&setup.labels), settings).unwrap();
        let whole = |graph: &Graph| evaluator.evaluate(graph).unwrap().quality;
        let course = |graph: &Graph| evaluator.course(graph).unwrap();
        let ((measured, of_good), (_, of_bad)) = (course(&good), course(&bad));
        assert_eq!(measured.quality, whole(&good));

        let lost = evaluator.race(&bad, &of_good, Measure::Top1).unwrap();
        assert_eq!((lost.stopped_after, lost.course), (Some(64), None), "the first batch of three");
        let (foretold, found) = (lost.quality, whole(&bad));
        let ratio = foretold.kl.unwrap() / found.kl.unwrap();
        assert!((0.8..1.25).contains(&ratio), "{foretold:?} {found:?}");
        assert!((foretold.top1.unwrap() - found.top1.unwrap()).abs() < 0.1);

        let won = evaluator.race(&good, &of_bad, Measure::Top1).unwrap();
        assert_eq!((won.quality, won.stopped_after), (whole(&good), None));
        assert_eq!(won.course, Some(of_good.clone()));
        let with_itself = evaluator.race(&good, &of_good, Measure::Kl).unwrap();
        assert_eq!(with_itself.stopped_after, None);
    }
}

#[test]
fn a_network_that_the_measure_favours_is_not_stopped() {
    let setup = setup("gptq");
    let graph = |pair| setup.quantizer.apply(&uniform(&setup, pair)).unwrap();
    let bad = graph(bits(2, 2));
    // Labels that are what the worse network answers: by top1 it is the better one.
    let outputs = Executable::new(&bad, Device::Cpu).unwrap().run(&setup.images).unwrap();
    let labels = Vec::<i64>::try_from(outputs.argmax(1, false)).unwrap();
    let settings = EvaluationSettings { threads: 1, ..Default::default() };
    let float = setup.quantizer.graph();
    let evaluator = Evaluator::new(float, &setup.images, Some(&labels), settings).unwrap();
    let (_, rival) = evaluator.course(&graph(bits(4, 4))).unwrap();
    assert_eq!(evaluator.race(&bad, &rival, Measure::Top1).unwrap().stopped_after, None);
    assert_eq!(evaluator.race(&bad, &rival, Measure::Kl).unwrap().stopped_after, Some(64));
}

#[test]
fn better_recipes_stay_closer_to_float() {
    let divergence = |method: &str| {
        let setup = setup(method);
        let settings = EvaluationSettings::default();
        let graph = setup.quantizer.graph();
        let evaluator = Evaluator::new(graph, &setup.images, None, settings).unwrap();
        let mut policy = uniform(&setup, bits(3, 8));
        let last = policy.len() - 1;
        policy.layers_mut()[0] = LayerBits::EIGHT;
        policy.layers_mut()[last] = LayerBits::EIGHT;
        let quality = evaluator.evaluate(&setup.quantizer.apply(&policy).unwrap()).unwrap().quality;
        assert_eq!((quality.top1, quality.loss), (None, None), "there are no labels");
        quality.kl.unwrap()
    };
    let (gptq, corrected, min_max) =
        (divergence("gptq"), divergence("mse-corrected"), divergence("min-max"));
    assert!(gptq < corrected && corrected < min_max, "{gptq} {corrected} {min_max}");
}

#[test]
fn what_cannot_be_quantized_is_named() {
    let setup = setup("gptq");
    let short = BitwidthPolicy::uniform(2, LayerBits::EIGHT);
    let error = setup.quantizer.apply(&short).unwrap_err();
    assert!(matches!(error, QuantizationError::PolicyLength { policy: 2, .. }), "{error}");
    let error = setup.quantizer.apply(&uniform(&setup, bits(8, 9))).unwrap_err();
    assert!(error.to_string().contains("9 bits"), "{error}");

    let settings = EvaluationSettings::default();
    let mut labels = setup.labels.clone();
    labels[3] = 10;
    let graph = setup.quantizer.graph();
    let error = Evaluator::new(graph, &setup.images, Some(&labels), settings).err().unwrap();
    assert!(error.to_string().contains("image 3: label 10"), "{error}");

    let model = Model::load(None).unwrap();
    let none = setup.images.narrow(0, 0, 0);
    let error = Quantizer::calibrate(model.graph.clone(), &none, Method::default()).err().unwrap();
    assert!(matches!(error, QuantizationError::NoImages), "{error}");
    let broken = &setup.images * f64::NAN;
    let error =
        Quantizer::calibrate(model.graph.clone(), &broken, Method::default()).err().unwrap();
    assert!(matches!(error, QuantizationError::ActivationNotFinite { .. }), "{error}");

    let layer = &model.layers[1];
    let weight = model.graph.constant(layer.weight).unwrap();
    let mut values = weight.as_f32().unwrap().to_vec();
    values[5] = f32::INFINITY;
    let shape = weight.shape().to_vec();
    let graph = model.graph.clone().with_constant(layer.weight, Array::f32(shape, values));
    let error = Quantizer::calibrate(graph, &setup.images, Method::default()).err().unwrap();
    assert!(
        error.to_string().contains(&format!("layer {}: weight 5 is inf", layer.name)),
        "{error}"
    );
}

#[test]
fn one_calibration_image_and_constant_channels_are_enough() {
    let model = Model::load(None).unwrap();
    let black = Tensor::zeros([1, 1, 8, 8], (Kind::Float, Device::Cpu));
    let quantizer = Quantizer::calibrate(model.graph.clone(), &black, Method::default()).unwrap();
    for width in 1..=8 {
        let policy = BitwidthPolicy::uniform(model.layers.len(), bits(width, width));
        let graph = quantizer.apply(&policy).unwrap();
        let outputs = Executable::new(&graph, Device::Cpu).unwrap().run(&black).unwrap();
        assert!(outputs.isfinite().all().int64_value(&[]) == 1, "{width} bits");
    }
}
